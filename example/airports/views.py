"""Views of the directory. Their code is the same as without a cache."""

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.core.paginator import Paginator
from django.db import IntegrityError
from django.db.models import Count, F
from django.http import Http404
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from cacheops_lite import invalidate_all, invalidate_model, invalidate_obj

from .forms import AirportForm, InvalidateForm, MassUpdateForm
from .models import Airport, Country, Tag

PAGE_SIZE = 50


def home(request):
    """List all countries by name, each with its number of airports."""
    countries = Country.objects.annotate(total=Count("airports")).order_by("name", "code")
    return render(request, "airports/home.html", {"countries": countries})


def country(request, code):
    """List a page of the airports of a country, or of those with one tag."""
    country = _country(code)
    airports = Airport.objects.filter(country=country).select_related("city__region")
    tag = None
    if request.GET.get("tag"):
        tag = _tag(request.GET["tag"])
        airports = airports.filter(tags=tag)
    paginator = Paginator(airports.prefetch_related("tags"), PAGE_SIZE)
    context = {
        "country": country,
        "tag": tag,
        "tags": Tag.objects.all(),
        "page": paginator.get_page(request.GET.get("page")),
    }
    return render(request, "airports/country.html", context)


def airport(request, icao):
    """Show an airport and the other airports of its city."""
    airport = _airport(icao)
    neighbours = Airport.objects.none()
    if airport.city.name:
        neighbours = Airport.objects.filter(city=airport.city).exclude(pk=airport.pk)
    context = {"airport": airport, "neighbours": neighbours}
    return render(request, "airports/airport.html", context)


def add(request):
    """Add an airport."""
    country = Country.objects.filter(code=request.GET.get("country", "")).first()
    form = AirportForm(_posted(request), initial={"country": country})
    airport = _saved(form)
    if airport:
        messages.success(request, f"Added {airport}.")
        return redirect(airport)
    back = country.get_absolute_url() if country else reverse("home")
    return _form_page(request, form, "Add an airport", back)


def edit(request, icao):
    """Edit an airport."""
    airport = _airport(icao)
    title, back = f"Edit {airport}", airport.get_absolute_url()
    form = AirportForm(_posted(request), instance=airport)
    airport = _saved(form)
    if airport:
        messages.success(request, f"Saved {airport}.")
        return redirect(airport)
    return _form_page(request, form, title, back)


def delete(request, icao):
    """Ask for confirmation, then delete an airport."""
    airport = _airport(icao)
    if request.method == "POST":
        airport.delete()
        messages.success(request, f"Deleted {airport}.")
        return redirect(airport.country)
    return render(request, "airports/delete.html", {"airport": airport})


@require_POST
def visit(request, icao):
    """Count a visit in the database."""
    airport = _airport(icao)
    Airport.objects.filter(pk=airport.pk).invalidated_update(views=F("views") + 1)
    return redirect(airport)


def mass_update(request, code):
    """Change all airports of a country in one statement."""
    country = _country(code)
    form = MassUpdateForm(_posted(request))
    if form.is_valid():
        airports = Airport.objects.filter(country=country)
        changed = airports.invalidated_update(**form.changes())
        messages.success(request, f"Changed {changed} airports.")
        return redirect(country)
    title = f"Change all airports of {country}"
    return _form_page(request, form, title, country.get_absolute_url())


@require_POST
def invalidate(request):
    """Invalidate the results that depend on an airport or on any airport, or all results."""
    form = InvalidateForm(request.POST)
    if not form.is_valid():
        raise BadRequest("The request does not say what to invalidate")
    what = form.cleaned_data["what"]
    if what == form.AIRPORT:
        airport = _airport(form.cleaned_data["icao"])
        invalidate_obj(airport)
        messages.success(request, f"Invalidated all results that depend on {airport}.")
    elif what == form.MODEL:
        invalidate_model(Airport)
        messages.success(request, "Invalidated all results that depend on airports.")
    else:
        invalidate_all()
        messages.success(request, "Invalidated all results.")
    return redirect(_page_of_this_site(request, form.cleaned_data["next"]))


def _country(code):
    return get_object_or_404(Country, code=code.upper())


def _airport(icao):
    airports = Airport.objects.select_related("country", "city__region")
    return get_object_or_404(airports.prefetch_related("tags"), icao=icao.upper())


def _tag(pk):
    if not pk.isdecimal():
        raise Http404("Not a tag")
    return get_object_or_404(Tag, pk=pk)


def _posted(request):
    return request.POST if request.method == "POST" else None


def _saved(form):
    """Save the form and return the airport, or None if the form was not sent or is not valid."""
    if not form.is_valid():
        return None
    try:
        return form.save()
    except IntegrityError:
        form.add_error("icao", "Another airport already has this code.")
        return None


def _page_of_this_site(request, url):
    """Return `url` if it is a page of this site, else the home page."""
    is_own = url_has_allowed_host_and_scheme(url, {request.get_host()}, request.is_secure())
    return url if is_own and url.startswith("/") else reverse("home")


def _form_page(request, form, title, back):
    zones = Airport.objects.order_by("tz").values_list("tz", flat=True).distinct()
    context = {"form": form, "title": title, "back": back, "zones": zones}
    return render(request, "airports/form.html", context)
