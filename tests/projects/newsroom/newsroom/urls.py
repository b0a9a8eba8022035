from articles import views
from django.urls import path

urlpatterns = [
    path("", views.titles),
    path("function", views.number),
    path("rename/<str:title>", views.rename),
    path("clear", views.clear),
]
