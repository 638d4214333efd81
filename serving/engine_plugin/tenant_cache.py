"""A radix cache in which every token has an owner (SGLang's `--radix-cache-backend bulkhead`).

SGLang's tree keeps prefixes apart by salt already. This one also counts what each tenant holds, and
chooses whose leaf goes first by `Accounts`, and within a tenant the least recently used one. Stock
`RadixCache.evict` makes a heap of all leaves at every call; here each account keeps one heap, whose
entries are corrected when they come up, so that evicting a leaf costs O(log n).
"""

from __future__ import annotations

import heapq
import time
from typing import Any

import torch
from sglang.srt.mem_cache.base_prefix_cache import EvictParams, EvictResult

from serving.engine_plugin import scrub
from serving.engine_plugin.accounts import Account, Accounts
from serving.engine_plugin.admission import claims_of
from serving.engine_plugin.claims import Claims
from serving.engine_plugin.public_tree import PublicTree

# Accounts that hold nothing are forgotten when there are more than this.
_MOST_IDLE = 1024

Node = Any  # SGLang's TreeNode


class TenantRadixCache(PublicTree):
    """SGLang's `RadixCache` with owners, budgets and an eviction that asks for them."""

    def __init__(self, params: Any) -> None:
        if params.eviction_policy.lower() != "lru":
            raise ValueError("tenants' caches are evicted least recently used first: set 'lru'")
        self.accounts = Accounts(params.token_to_kv_pool_allocator.size)
        self._owners: dict[str, Account] = {}
        self._heaps: dict[str, list[tuple[float, int, Node]]] = {}
        self._queued: set[Node] = set()
        self._of_adapters: dict[str, set[str]] = {}
        super().__init__(params)

    # What the scheduler calls

    def enter(self, claims: Claims) -> Account:
        """The account that the request's KV is charged to, under its policy from now on."""
        if len(self.accounts) > _MOST_IDLE:
            self._forget_idle()
        account = self.accounts.open(claims.account, claims.policy)
        if claims.adapter:
            self._of_adapters.setdefault(claims.adapter, set()).add(claims.namespace)
        before = self._owners.get(claims.namespace)
        self._owners[claims.namespace] = account
        if before is not None and before is not account:
            self._move(claims.namespace, before, account)
        return account

    def reset(self) -> None:
        super().reset()
        self.accounts.clear()
        self._heaps.clear()
        self._queued.clear()

    def checkpoint(self, req: Any, *, up_to: int) -> None:
        self.enter(claims_of(req))
        super().checkpoint(req, up_to=up_to)

    def on_release(self, req: Any, *, checkpointed: bool) -> None:
        """A tenant above its cap gives up its own, as soon as nothing holds it."""
        super().on_release(req, checkpointed=checkpointed)
        account = self._owners.get(req.cache_salt)
        if account is not None and (excess := self.accounts.excess(account)):
            self._evict_of(account, min(excess, account.evictable))

    def evict(self, params: EvictParams) -> EvictResult:
        started, evicted = time.perf_counter(), 0
        while (needed := params.num_tokens - evicted) > 0:
            given = self.accounts.next_to_give()
            if given is None:
                break
            account, most = given
            # A little more than is needed: else each decoding step would evict a few tokens.
            if freed := self._evict_of(
                account, min(most, max(needed, self.accounts.tokens // 256))
            ):
                evicted += freed
            else:  # less than a page
                self.accounts.pass_over(account)
        self.update_eviction_metrics(evicted, started)
        return EvictResult(num_tokens_evicted=evicted)

    def reclaimable_size(self) -> int:
        """Tokens that `evict` can free: evictable ones, less what is reserved."""
        return self.accounts.reclaimable()

    def purge(self, account: Account) -> int:
        """Evict all that the account holds, reserved or not; how many tokens stay in use."""
        self._evict_of(account, account.evictable)
        return account.resident

    def forget_adapter(self, name: str) -> None:
        """Evict the prefixes computed with an adapter, reserved or not."""
        for namespace in self._of_adapters.pop(name, ()):
            taken = []
            while leaves := self.evictable_leaves.intersection(self.nodes_of(namespace)):
                taken += [self._taken(leaf, len(leaf.key)) for leaf in leaves]
            if taken:
                self._give_back(self._owners[namespace], taken)

    def inc_lock_ref(self, node: Node) -> Any:
        self._count_locked(node, before=0)
        return super().inc_lock_ref(node)

    def dec_lock_ref(self, node: Node, params: Any = None) -> Any:
        self._count_locked(node, before=1)
        return super().dec_lock_ref(node, params)

    # What the tree calls

    def _insert_helper(self, node: Node, key: Any, *args: Any, **kwargs: Any) -> Any:
        before = self.evictable_size_
        result = super()._insert_helper(node, key, *args, **kwargs)
        if added := self.evictable_size_ - before:
            self.accounts.change(self._owners[key.cache_salt], resident=added)
        return result

    def _delete_leaf(self, node: Node) -> None:
        super()._delete_leaf(node)
        account = self._owners[node.key.cache_salt]
        account.evicted += len(node.key)
        self.accounts.change(account, resident=-len(node.key))

    def _update_leaf_status(self, node: Node) -> None:
        super()._update_leaf_status(node)
        if node in self.evictable_leaves and node not in self._queued:
            self._queue(node)

    # Leaves, by account and age

    def _queue(self, node: Node) -> None:
        heap = self._heaps.setdefault(self._owners[node.key.cache_salt].name, [])
        heapq.heappush(heap, (node.last_access_time, node.id, node))
        self._queued.add(node)

    def _oldest_leaf(self, account: Account) -> Node | None:
        """The account's least recently used leaf that nothing holds. An entry is as old as its
        node was when it was queued or younger never: so the first correct one is the oldest."""
        heap = self._heaps.get(account.name, [])
        while heap:
            queued_at, _, node = heap[0]
            if (
                node not in self.evictable_leaves
                or self._owners[node.key.cache_salt] is not account
            ):
                heapq.heappop(heap)
                self._queued.discard(node)
                if node in self.evictable_leaves:
                    self._queue(node)
            elif node.last_access_time > queued_at:
                heapq.heapreplace(heap, (node.last_access_time, node.id, node))
            else:
                return node
        return None

    def _evict_of(self, account: Account, tokens: int) -> int:
        """Free up to `tokens` of one account, in whole pages; how many it were."""
        taken, evicted = [], 0
        while evicted < tokens:
            leaf = self._oldest_leaf(account)
            slots = None if leaf is None else self._taken(leaf, tokens - evicted)
            if slots is None:
                break
            taken.append(slots)
            evicted += len(slots)
        self._give_back(account, taken)
        return evicted

    def _taken(self, leaf: Node, most: int) -> Any:
        """The slots of a leaf that is taken out of the tree, or of its end if `most` is less: a
        reservation may cut through it. None: that is less than a page."""
        keep = len(leaf.key) - most
        keep = -(-keep // self.page_size) * self.page_size
        if keep >= len(leaf.key):
            return None
        if keep > 0:
            self._split_node(leaf.key, leaf, keep).last_access_time = leaf.last_access_time
        self._delete_leaf(leaf)
        self.kv_events.record_remove(leaf)
        return leaf.value

    def _give_back(self, account: Account, taken: list[Any]) -> None:
        """Slots of one account, at once: the allocator copies its free list for each time."""
        if not taken:
            return
        with scrub.scrubbing(account.policy.scrub):
            self.token_to_kv_pool_allocator.free_segment(torch.cat(taken), start_pos=0)

    # Owners

    def _count_locked(self, node: Node, before: int) -> None:
        """Nodes whose lock count is `before` now change between held and free."""
        changed: dict[str, int] = {}
        while node is not self.root_node:
            if node.lock_ref == before:
                salt = node.key.cache_salt
                changed[salt] = changed.get(salt, 0) + len(node.key)
            node = node.parent
        for salt, tokens in changed.items():
            self.accounts.change(self._owners[salt], locked=tokens if before == 0 else -tokens)

    def _move(self, namespace: str, source: Account, target: Account) -> None:
        """A namespace came under another account."""
        for node in self.nodes_of(namespace):
            tokens, locked = len(node.key), len(node.key) if node.lock_ref else 0
            self.accounts.change(source, resident=-tokens, locked=-locked)
            self.accounts.change(target, resident=tokens, locked=locked)
            if node in self.evictable_leaves:
                self._queue(node)

    def _forget_idle(self) -> None:
        idle = [account for account in self.accounts if not account.resident]
        for account in idle:
            self.accounts.close(account.name)
            self._heaps.pop(account.name, None)
        names = {account.name for account in self.accounts}
        self._owners = {ns: owner for ns, owner in self._owners.items() if owner.name in names}
