"""A retail database (500 customers, 1,000 orders) put into chat sentences of our own."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evals.privacy.samples import DEVELOPMENT, HELD_OUT, Sample, filled

_CUSTOMERS = (
    (
        "Hi, I am {name}, my e-mail is {email} and I live at {address}.",
        "Please update my account {user} to the new address {address}. Thanks, {name}",
        '{"name": "{name}", "email": "{email}", "address1": "{street}", "zip": "{zip}"}',
        "my name is {lower} and my zip code is {zip}, can you find my orders?",
    ),
    (
        "{name} here. You have my old mail, the right one is {email}.",
        "Could you send everything to {address} from now on? The account is under {email}.",
        "Customer: {name}\nE-mail: {email}\nZip: {zip}\nThe customer asks for a callback.",
        "this is {lower}, i forgot my password, my user id is {user}",
    ),
)
_ORDERS = (
    (
        "Where is my order {order}? I bought the {product} for ${price}.",
        "Please cancel order {order} and keep the {product} ({item}) on my wish list.",
        "The tracking number {tracking} says delivered, but the {product} is not here.",
    ),
    (
        "I want to exchange the {product} of order {order} for a cheaper one, it was ${price}.",
        "Did you ship {order} to {address} or to my old address?",
        "Parcel {tracking} contained a {product} with item id {item} that I never ordered.",
    ),
)


def retail(folder: Path, count: int, seed: int) -> list[Sample]:
    """`count` sentences of each half. `folder`: holds db.json, of users and orders.

    Raises:
        OSError, KeyError, ValueError: it is not there, or not of that shape.
    """
    data = json.loads((folder / "db.json").read_text(encoding="utf-8"))
    draw = random.Random(seed)
    samples = []
    for which, half in enumerate((DEVELOPMENT, HELD_OUT)):
        every = [*_customers(data, which, half), *_orders(data, which, half)]
        samples += draw.sample(every, min(count, len(every)))
    return samples


def products(folder: Path) -> list[str]:
    """The names of what is sold, which are nobody's personal data."""
    data = json.loads((folder / "db.json").read_text(encoding="utf-8"))
    return sorted({product["name"] for product in data["products"].values()})


def _customers(data: Any, which: int, half: str) -> Iterator[Sample]:
    for index, user in enumerate(data["users"].values()):
        name = f"{user['name']['first_name']} {user['name']['last_name']}"
        address = user["address"]
        values = {
            "name": (name, "PERSON"),
            "lower": (name.lower(), "PERSON"),
            "email": (user["email"], "EMAIL_ADDRESS"),
            "user": (user["user_id"], "USERNAME"),
            "street": (address["address1"], "STREET_ADDRESS"),
            "zip": (address["zip"], "POSTAL_CODE"),
            "address": (_address(address), "STREET_ADDRESS"),
        }
        yield _filled(_CUSTOMERS[which], index, values, half)


def _orders(data: Any, which: int, half: str) -> Iterator[Sample]:
    for index, order in enumerate(data["orders"].values()):
        item = order["items"][0]
        tracking = [each["tracking_id"][0] for each in order["fulfillments"]]
        values = {
            "order": (order["order_id"], "ORDER_NUMBER"),
            "tracking": (tracking[0] if tracking else "357962501027", "TRACKING_NUMBER"),
            "address": (_address(order["address"]), "STREET_ADDRESS"),
            "product": (item["name"], ""),
            "item": (item["item_id"], ""),
            "price": (str(item["price"]), ""),
        }
        yield _filled(_ORDERS[which], index, values, half)


def _address(address: dict[str, str]) -> str:
    parts = (address["address1"], address["address2"], address["city"])
    return f"{', '.join(parts)}, {address['state']} {address['zip']}"


def _filled(
    templates: tuple[str, ...], index: int, values: dict[str, tuple[str, str]], half: str
) -> Sample:
    return filled(templates[index % len(templates)], values, half)
