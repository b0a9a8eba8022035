from django.db import models


class Article(models.Model):
    title = models.CharField(max_length=100)

    class Meta:
        app_label = "articles"

    def __str__(self):
        return self.title
