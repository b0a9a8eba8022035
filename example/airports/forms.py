"""Forms of the directory."""

from zoneinfo import available_timezones

from django import forms
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F

from .models import Airport, City, Region


def known_time_zone(name):
    """Raise ValidationError unless `name` is a time zone of this system or one in the directory."""
    if name not in available_timezones() and not Airport.objects.filter(tz=name).exists():
        raise ValidationError("Not a known time zone. Write it like Europe/Paris.")


class TimeZoneField(forms.CharField):
    """The name of a time zone. The page suggests the names in `datalist#zones`."""

    default_validators = [known_time_zone]

    def widget_attrs(self, widget):
        return {**super().widget_attrs(widget), "list": "zones"}


class CodeField(forms.CharField):
    """A code that is converted to capital letters."""

    def to_python(self, value):
        return super().to_python(value).upper()


class AirportForm(forms.ModelForm):
    """Adds or edits an airport, and creates its region and city if they do not exist."""

    icao = CodeField(label="ICAO code", max_length=4)
    iata = CodeField(label="IATA code", max_length=3, required=False)
    region = forms.CharField(max_length=100, required=False)
    city = forms.CharField(max_length=100, required=False)
    tz = TimeZoneField(label="Time zone", max_length=50)

    class Meta:
        model = Airport
        fields = ["icao", "iata", "name", "country", "elevation", "lat", "lon", "tz", "tags"]
        widgets = {"tags": forms.CheckboxSelectMultiple}

    field_order = ["icao", "iata", "name", "country", "region", "city"]

    def __init__(self, *args, instance=None, initial=None, **kwargs):
        initial = dict(initial or {})
        if instance is not None:
            initial |= {"city": instance.city.name, "region": instance.city.region.name}
        super().__init__(*args, instance=instance, initial=initial, **kwargs)

    def save(self):
        """Save the airport with its city and tags. Columns that are not in the form are not written."""
        airport = super().save(commit=False)
        columns = None
        if airport.pk:
            columns = [name for name in self.Meta.fields if name != "tags"] + ["city"]
        with transaction.atomic():
            airport.city = self._city()
            airport.save(update_fields=columns)
            self.save_m2m()
        return airport

    def _city(self):
        data = self.cleaned_data
        region, _ = Region.objects.get_or_create(country=data["country"], name=data["region"])
        city, _ = City.objects.get_or_create(region=region, name=data["city"])
        return city


class MassUpdateForm(forms.Form):
    """Changes all airports of a country at once."""

    tz = TimeZoneField(label="Time zone of all airports", max_length=50, required=False)
    climb = forms.FloatField(label="Feet to add to each elevation", min_value=-1000, max_value=1000, required=False)

    def clean(self):
        if not self.errors and not self.changes():
            raise ValidationError("Give a time zone or a number of feet.")

    def changes(self):
        """Return the arguments of `update()` that the valid form stands for."""
        changes = {}
        if self.cleaned_data.get("tz"):
            changes["tz"] = self.cleaned_data["tz"]
        if self.cleaned_data.get("climb"):
            changes["elevation"] = F("elevation") + self.cleaned_data["climb"]
        return changes


class InvalidateForm(forms.Form):
    """Selects what to invalidate manually, and the page to return to."""

    AIRPORT, MODEL, EVERYTHING = "airport", "model", "everything"

    what = forms.ChoiceField(choices=[(value, value) for value in (AIRPORT, MODEL, EVERYTHING)])
    icao = forms.CharField(required=False)
    next = forms.CharField(required=False)
