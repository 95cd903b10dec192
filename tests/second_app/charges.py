"""Charges accounts at a bank over HTTP: each order once, unless its time is over. All of an app on the engine."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import aiohttp
import msgspec
from pydantic_settings import SettingsConfigDict

from cj_stream.engine.dispatcher import PostponedError
from cj_stream.engine.engine_settings import EngineSettings
from cj_stream.engine.keyed import Item, Rules
from cj_stream.engine.keyed_service import KeyedService, Read, keyed_app
from cj_stream.engine.naming import Names


class Settings(EngineSettings):  # CHARGES_KAFKA_BOOTSTRAP, CHARGES_DATA_DIR, CHARGES_BANK_URL, ...
    model_config = SettingsConfigDict(env_prefix="CHARGES_")
    names: ClassVar[Names] = Names("CHARGES_", "python -m second_app.charges")
    app_id: str = "charges"
    orders_topic: str = "orders"
    bank_url: str = "http://127.0.0.1:8080"


class Charge(msgspec.Struct, frozen=True):
    amount: int
    due: float
    end: str = ""


class Ordered(msgspec.Struct, frozen=True, tag=True):
    account: str
    order: str
    amount: int
    seconds: float


class Paid(msgspec.Struct, frozen=True, tag=True):
    account: str
    order: str


class TimeIsOver(msgspec.Struct, frozen=True, tag=True):
    account: str
    at: float


Event = Ordered | Paid | TimeIsOver
Account = dict[str, Charge]  # the state of a key: the charges of an account, by order


class Charging(Rules[Account, Event, str]):
    """What is decided: no I/O, no clock."""

    state, events = Account, Event

    def key(self, event: Event) -> str:
        return event.account

    def decide(self, state: Account | None, event: Event, at: float) -> Account:
        account = state or {}
        match event:
            case Ordered() if event.order not in account:  # input may come twice
                return account | {event.order: Charge(event.amount, at + event.seconds)}
            case Paid():
                return account | _ended(account, [event.order], "paid")
            case TimeIsOver():
                return account | _ended(
                    account, [o for o, charge in account.items() if charge.due <= event.at], "expired"
                )
        return account

    def todo(self, _key: str, state: Account) -> list[str]:
        return [order for order, charge in state.items() if not charge.end]

    def next_due(self, _key: str, state: Account, _opened_at: float) -> float | None:
        return min((charge.due for charge in state.values() if not charge.end), default=None)

    def due(self, key: str, at: float) -> Event:
        return TimeIsOver(key, at)


def _ended(account: Account, orders: list[str], end: str) -> Account:
    return {o: msgspec.structs.replace(account[o], end=account[o].end or end) for o in orders}


class Charges(KeyedService[Account, Event, str]):
    """What is done: input is read, effects are carried out."""

    settings: Settings
    rules = Charging()
    window_seconds = 1.0

    def reads(self) -> dict[str, Read[Event]]:
        return {self.settings.orders_topic: lambda record: msgspec.json.decode(record.value or b"", type=Ordered)}

    async def execute(self, effect: str, item: Item[Account], _partition: int) -> Event:
        body = {"account": item.key, "amount": (item.state or {})[effect].amount}
        try:
            async with aiohttp.request("PUT", f"{self.settings.bank_url}/charges/{effect}", json=body) as response:
                response.raise_for_status()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise PostponedError(f"the bank does not take it: {error!r}", seconds=0.5) from error
        return Paid(item.key, effect)


charges = keyed_app(Settings, Charges)
app = charges.faust  # faust -A second_app.charges worker

if __name__ == "__main__":  # python -m second_app.charges topics create
    asyncio.run(charges.create_topics())
