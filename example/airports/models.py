"""Countries, regions, cities, airports, and tags of airports."""

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.urls import reverse


class Country(models.Model):
    """A country, identified by its ISO 3166 code."""

    code = models.CharField(max_length=2, unique=True)
    name = models.CharField(max_length=100)

    class Meta:
        ordering = ["name", "code"]
        verbose_name_plural = "countries"

    def __str__(self):
        return self.name

    def get_absolute_url(self):
        return reverse("country", args=[self.code])


class Region(models.Model):
    """A state or province. Its name is empty if the source has none."""

    name = models.CharField(max_length=100, blank=True)
    country = models.ForeignKey(Country, on_delete=models.CASCADE, related_name="regions")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["country", "name"], name="region_of_country")]

    def __str__(self):
        return self.name or "(no region)"


class City(models.Model):
    """The city that an airport serves. Its name is empty if the source has none."""

    name = models.CharField(max_length=100, blank=True)
    region = models.ForeignKey(Region, on_delete=models.CASCADE, related_name="cities")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["region", "name"], name="city_of_region")]
        verbose_name_plural = "cities"

    def __str__(self):
        return self.name or "(no city)"


class Tag(models.Model):
    """A label of airports."""

    name = models.CharField(max_length=50, unique=True)

    class Meta:
        ordering = ["name"]

    def __str__(self):
        return self.name


class Airport(models.Model):
    """An airport. It refers to its country directly as well, so that most lists need no join."""

    icao = models.CharField(
        "ICAO code",
        max_length=4,
        unique=True,
        validators=[RegexValidator(r"^[A-Z0-9_]{4}\Z", "Four capital letters or digits.")],
    )
    iata = models.CharField(
        "IATA code",
        max_length=3,
        blank=True,
        db_index=True,
        validators=[RegexValidator(r"^[A-Z0-9]{3}\Z", "Three capital letters or digits.")],
    )
    name = models.CharField(max_length=100)
    city = models.ForeignKey(City, on_delete=models.CASCADE, related_name="airports")
    country = models.ForeignKey(Country, on_delete=models.CASCADE, related_name="airports")
    elevation = models.FloatField("elevation (ft)", validators=[MinValueValidator(-2000), MaxValueValidator(30000)])
    lat = models.FloatField("latitude", validators=[MinValueValidator(-90), MaxValueValidator(90)])
    lon = models.FloatField("longitude", validators=[MinValueValidator(-180), MaxValueValidator(180)])
    tz = models.CharField("time zone", max_length=50)
    views = models.PositiveIntegerField(default=0, editable=False)
    tags = models.ManyToManyField(Tag, blank=True, related_name="airports")

    class Meta:
        ordering = ["icao"]

    def __str__(self):
        return f"{self.icao} {self.name}"

    def get_absolute_url(self):
        return reverse("airport", args=[self.icao])
