"""A keyring whose tenants' keys are the cluster's; the key that signs checkpoints stays its own."""

from orlop.abi.errors import Misconfigured
from orlop.abi.ids import TenantId
from orlop.cluster.peers import TenantKeys
from orlop.store.keyring import Keyring, TenantKey


class SharedKeyring(Keyring):
    """One digest for one content in all journals, so that a call is recognised wherever its process
    has gone; and a key that is forgotten is forgotten everywhere."""

    def __init__(self, own: Keyring, keys: TenantKeys) -> None:
        super().__init__(own._ring, own._chance, own._save)
        if self._ring.tenants:
            raise Misconfigured(
                "journal.key_file: this home has tenants' keys of its own already, so its journal"
                " can't be read by others: begin with a new home and schema"
            )
        self._shared = keys
        self._known: dict[int, TenantKey] = {}

    def of_tenant(self, tenant: TenantId) -> TenantKey:
        key = self._shared.of_tenant(tenant)
        self._known[key.id] = key
        return key

    def by_id(self, key_id: int) -> TenantKey | None:
        key = self._known.get(key_id) or self._shared.by_id(key_id)
        if key is not None:
            self._known[key_id] = key
        return key

    def has(self, tenant: TenantId) -> bool:
        return self._shared.has(tenant)

    def forget(self, tenant: TenantId) -> None:
        self._shared.forget(tenant)
        self._known.clear()
