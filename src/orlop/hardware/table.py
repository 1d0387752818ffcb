"""The device table: what there is, how it is, who has it, and which engines stand on it.

Devices come and go; an engine stands on one for as long as it is configured.  Invariants:
1. a device keeps its name while its maker's name (`uuid`) is seen, wherever it is plugged in;
2. a lost or drained device, and one that is being erased, is usable by nobody;
3. there are at most `DEVICES_MAX` devices.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from orlop.abi.devices import DeviceCard, DeviceHealth, DeviceName
from orlop.abi.errors import NotFound
from orlop.abi.ids import EngineName, TenantId
from orlop.abi.limits import DEVICES_MAX, NAME_CHARS_MAX
from orlop.hardware import health
from orlop.hardware.configured import DeviceConfig, as_good_as, described
from orlop.hardware.health import HEALTHY, Condition
from orlop.hardware.ledger import Ledger

log = logging.getLogger(__name__)

SHARE_STEP: Final = 0.1
"""A share that changes by less is no news."""


BY_ENGINE: Final = "its engine"
"""The source of a device of which we know only that an engine stands on it."""


@dataclass(frozen=True, slots=True)
class Change:
    """A device is good for more or less than it was."""

    device: DeviceName
    was: DeviceHealth | None
    health: DeviceHealth
    share: float
    reason: str


@dataclass(frozen=True, slots=True)
class Usable:
    """What an engine may be given: `share` of its slots, 0 to 1, and why not all of them."""

    device: DeviceName
    share: float
    reason: str = ""


@dataclass(eq=False, slots=True)
class DeviceTable:
    """Built by `boot`.  Without a look and without configuration it is empty: all is usable."""

    config: Mapping[str, DeviceConfig] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    _seen: dict[DeviceName, DeviceCard] = field(default_factory=dict)
    """As last seen."""
    _cards: dict[DeviceName, DeviceCard] = field(default_factory=dict)
    """The same with what orlop.toml says, and with health."""
    _conditions: dict[DeviceName, Condition] = field(default_factory=dict)
    _stands: dict[EngineName, DeviceName] = field(default_factory=dict)
    _told: dict[DeviceName, Change] = field(default_factory=dict)
    """What was last said of each."""

    # What there is.

    def cards(self) -> tuple[DeviceCard, ...]:
        """Every device with its claims and its engines."""
        return tuple(self._shown(card) for card in self._cards.values())

    def card(self, name: str) -> DeviceCard:
        """Raises `NotFound`."""
        if (card := self._cards.get(DeviceName(name))) is None:
            names = ", ".join(self._cards) or "none"
            raise NotFound(f"no device {name[:NAME_CHARS_MAX]!r}; there is: {names}")
        return self._shown(card)

    def _shown(self, card: DeviceCard) -> DeviceCard:
        engines = tuple(engine for engine, on in self._stands.items() if on == card.name)
        return self.ledger.shown(replace(card, engines=engines))

    # Engines.

    def stand(self, engine: EngineName, device: str, *, is_own: bool = False) -> None:
        """`engine` stands on `device` from now on.

        is_own: a device of which we know only that this engine is there.
        """
        name = DeviceName(device)
        self._stands[engine] = name
        if is_own and name not in self._cards and name not in self.config:
            card = DeviceCard(name=name, kind="remote", source=BY_ENGINE)
            self._seen[name] = self._cards[name] = card

    def notice_s(self, device: DeviceName) -> float | None:
        """What its owner says before he takes it back; None: nobody has said."""
        card = self._cards.get(device)  # None: it is known from the journal only.
        notice = None if card is None else card.attributes.get("notice_s")
        return float(notice) if isinstance(notice, int | float) else None

    def device_of(self, engine: EngineName) -> DeviceCard | None:
        """None: nobody has said where it stands."""
        name = self._stands.get(engine)
        return None if name is None else self._cards.get(name)

    def engines_on(self, device: DeviceName) -> tuple[EngineName, ...]:
        """Those that stand on it, on a group that it is in, or on a part of it."""
        related = {device}
        for card in self._cards.values():
            members = card.attributes.get("members")
            is_group = isinstance(members, tuple) and device in members
            if is_group or card.attributes.get("parent") == device:
                related.add(card.name)
        return tuple(engine for engine, on in self._stands.items() if on in related)

    def usable(self, engine: EngineName, tenant: TenantId | None = None) -> Usable:
        """What `engine` may be given now, by `tenant`'s calls (None: whoever they are of)."""
        card = self.device_of(engine)
        if card is None:
            return Usable(DeviceName(""), 1.0)
        if card.health in ("drained", "lost"):
            return Usable(card.name, 0.0, f"device {card.name} is {card.health}: {card.reason}")
        for part in self._parts(card):
            owner = self.ledger.owner(part) or card.tenant
            if part in self.ledger.erasing:
                reason = f"device {part} is being erased after its last holder"
                return Usable(card.name, 0.0, reason)
            if tenant is not None and owner is not None and owner != tenant:
                return Usable(card.name, 0.0, f"device {part} is another tenant's alone")
        return Usable(card.name, card.share, card.reason)

    def _parts(self, card: DeviceCard) -> tuple[DeviceName, ...]:
        """The device itself, and the members that it may be made of."""
        members = card.attributes.get("members")
        named = members if isinstance(members, tuple) else ()
        return (card.name, *(DeviceName(name) for name in named))

    # How they are.

    def told(self, device: DeviceName, was: DeviceHealth, share: float, reason: str) -> None:
        """What the journal says of a device from earlier lives of the kernel."""
        self._told[device] = Change(device, None, was, share, reason)
        if was == "drained":
            self._judge(device, lambda old: health.broke(old, reason))

    def see(self, found: Sequence[DeviceCard]) -> list[Change]:
        """After a look: what has come, gone, or changed."""
        here = {card.name: card for card in map(self._named, found[:DEVICES_MAX])}
        for name, was in self._seen.items():
            if name not in here and was.source != BY_ENGINE:
                self._lose(name, "it is not there any more")
        for name, card in self._cards.items():
            # Nobody looks at what is elsewhere: what mends itself does so there, too.
            if name not in here and (name not in self._seen or card.source == BY_ENGINE):
                self._look(name, card)
        for name, card in here.items():
            if card.health == "lost":  # Its driver still names it, and can't reach it.
                self._lose(name, card.reason)
            else:
                self._look(name, card)
        self._seen = self._kept(here)
        return self._news()

    def _kept(self, here: dict[DeviceName, DeviceCard]) -> dict[DeviceName, DeviceCard]:
        """What is here, and what was, as it was, while there is room for its memory."""
        kept = dict(here)
        for name, was in self._seen.items():
            is_lost = name not in here or here[name].health == "lost"
            if is_lost and (name in here or len(kept) < DEVICES_MAX):
                kept[name] = was
        return kept

    def failed(self, engine: EngineName, said: str) -> list[Change]:
        """A call on `engine` failed since its device had no memory left."""
        return self._judged(engine, lambda old: health.ran_full(old, said))

    def timed(self, engine: EngineName, ratio: float) -> list[Change]:
        """A call on `engine` ran at `ratio` of its calibrated speed."""
        return self._judged(engine, lambda old: health.timed(old, ratio))

    def drain(self, name: DeviceName, reason: str) -> list[Change]:
        """No more work, until `restore`.  Raises `NotFound`."""
        self._judge(self.card(name).name, lambda old: health.drained(old, reason))
        return self._news()

    def restore(self, name: DeviceName) -> list[Change]:
        """An operator says that it is sound.  Raises `NotFound`."""
        self._judge(self.card(name).name, health.given_back)
        return self._news()

    def _judged(self, engine: EngineName, how: Callable[[Condition], Condition]) -> list[Change]:
        name = self._stands.get(engine)
        if name is None:
            return []
        self._judge(name, how)
        return self._news()

    def _judge(self, name: DeviceName, how: Callable[[Condition], Condition]) -> None:
        self._conditions[name] = how(self._conditions.get(name, HEALTHY))

    def _look(self, name: DeviceName, card: DeviceCard) -> None:
        self._judge(name, lambda old: health.looked(old, card.reading))

    def _lose(self, name: DeviceName, why: str) -> None:
        self._judge(name, lambda old: health.lost(old, why))

    def _named(self, card: DeviceCard) -> DeviceCard:
        """By the name that this very device had before, if it had one."""
        uuid = card.attributes.get("uuid")
        if uuid is None:
            return card
        for old in self._seen.values():
            if old.attributes.get("uuid") == uuid:
                return replace(card, name=old.name)
        holder = self._seen.get(card.name)
        if holder is not None and holder.attributes.get("uuid") not in (None, uuid):
            return replace(card, name=DeviceName(f"{card.name}-{str(uuid)[-8:]}"))
        return card

    def _news(self) -> list[Change]:
        """Bring the cards up to date; what has changed since it was last said."""
        cards = {name: self._with_health(card) for name, card in self._seen.items()}
        for name, card in cards.items():
            whole = cards.get(DeviceName(str(card.attributes.get("parent"))))
            cards[name] = as_good_as(card, whole) if whole is not None else card
        known = {card.name: card for card in described(self.config, list(cards.values()))}
        for name in known.keys() - self._seen.keys():  # Elsewhere, or a group.
            known[name] = as_good_as(known[name], self._with_health(known[name]))
        for engine, name in self._stands.items():
            if name not in known:
                known[name] = _unheard_of(name, engine)
        self._cards = known
        changes = [self._change(card) for card in known.values()]
        changes += [
            Change(name, told.health, "lost", 0.0, "it is not there any more")
            for name, told in self._told.items()
            if name not in known
        ]
        news = [now for now in changes if _is_news(self._told.get(now.device), now)]
        self._told |= {now.device: now for now in news}
        return news

    def _change(self, card: DeviceCard) -> Change:
        told = self._told.get(card.name)
        was = told.health if told is not None else None
        return Change(card.name, was, card.health, card.share, card.reason)

    def _with_health(self, card: DeviceCard) -> DeviceCard:
        condition = self._conditions.get(card.name, HEALTHY)
        return replace(
            card, health=condition.health, share=condition.share, reason=condition.reason
        )


def _unheard_of(name: DeviceName, engine: EngineName) -> DeviceCard:
    reason = f"engine {engine} stands on it, and it is neither in this machine nor in orlop.toml"
    return DeviceCard(name=name, kind="remote", health="lost", share=0.0, reason=reason)


def _is_news(told: Change | None, now: Change) -> bool:
    if told is None:
        return True
    return told.health != now.health or abs(told.share - now.share) >= SHARE_STEP
