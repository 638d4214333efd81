"""The public part of a radix tree, and where a tenant's own part begins below it.

Public nodes are cut into blocks when they are published and never change afterwards: a tenant's
request follows whole blocks only, so nothing that it does alters them. A request keeps to what was
public when its prefix was matched, since its slots were counted from there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from sglang.srt.mem_cache.radix_cache import RadixCache, RadixKey

from serving.engine_plugin.identity import PUBLIC_NAMESPACE

Node = Any  # SGLang's TreeNode


class PublicTree(RadixCache):  # type: ignore[misc]
    """SGLang's `RadixCache`, which tries the public part first. `block` is in tokens."""

    block = 32

    def reset(self) -> None:
        super().reset()
        # How often something was published; None: a request sees all of it.
        self._published = 0
        self._visible: int | None = None
        self._pinned: set[Node] = set()
        # As what was published is called; a flush forgets it with the rest.
        self.prefixes: set[str] = set()

    def publish(self, name: str = "") -> int:
        """Make what stands in the public namespace public, until the tree is reset; how many tokens
        it is."""
        self._published += 1
        self.prefixes.add(name)
        for node in list(self.nodes_of(PUBLIC_NAMESPACE)):
            if node not in self._pinned:
                self._pin(node)
        return self.public_tokens

    @property
    def public_tokens(self) -> int:
        """How many tokens are public."""
        return sum(len(node.key) for node in self._pinned)

    def match_prefix(self, params: Any) -> Any:
        if params.req is not None:
            params.req.bulkhead_public = self._published
        return super().match_prefix(params)

    def checkpoint(self, req: Any, *, up_to: int) -> None:
        self._visible = getattr(req, "bulkhead_public", 0)
        try:
            super().checkpoint(req, up_to=up_to)
        finally:
            self._visible = None

    def nodes_of(self, namespace: str) -> Iterator[Node]:
        """All nodes of one namespace."""
        waiting = [
            child
            for anchor in (self.root_node, *self._pinned)
            for child in anchor.children.values()
            if child.key.cache_salt == namespace and child not in self._pinned
        ]
        if namespace == PUBLIC_NAMESPACE:
            waiting += self._pinned
        while waiting:
            node = waiting.pop()
            if node not in self._pinned:
                waiting.extend(node.children.values())
            yield node

    def _pin(self, node: Node) -> None:
        block = -(-self.block // self.page_size) * self.page_size
        while len(node.key) > block:
            self._pin_whole(self._split_node(node.key, node, block))
        self._pin_whole(node)

    def _pin_whole(self, node: Node) -> None:
        node.bulkhead_published = self._published
        self._pinned.add(node)
        self.inc_lock_ref(node)

    def _match_prefix_helper(self, node: Node, key: Any) -> Any:
        values, anchor, length = self._public_part(key)
        if length == len(key):
            return values, anchor
        rest, last = super()._match_prefix_helper(anchor, key[length:] if length else key)
        return values + rest, last

    def _insert_helper(
        self, node: Node, key: Any, value: Any, priority: int = 0, inserted_len: int = 0
    ) -> Any:
        _, anchor, length = self._public_part(key)
        if not length:
            return super()._insert_helper(node, key, value, priority, inserted_len)
        below = max(0, inserted_len - length)
        found, last = super()._insert_helper(anchor, key[length:], value[length:], priority, below)
        return length + found, last

    def _public_part(self, key: Any) -> tuple[list[Any], Node, int]:
        """Values of the public blocks that `key` begins with, the last one, and their length."""
        values: list[Any] = []
        node, length = self.root_node, 0
        # An adapter computes other keys and values of the same tokens.
        if not self._pinned or key.extra_key is not None or key.cache_salt == PUBLIC_NAMESPACE:
            return values, node, length
        public = RadixKey(key.token_ids, limit=key.limit, cache_salt=PUBLIC_NAMESPACE)
        while child := self._next_block(node, public, length):
            child.last_access_time = time.monotonic()
            values.append(child.value)
            node, length = child, length + len(child.key)
        return values, node, length

    def _next_block(self, node: Node, public: Any, length: int) -> Node | None:
        if len(public) - length < self.page_size:
            return None
        child = node.children.get(public.child_key_at(length, self.page_size))
        if child is None or child not in self._pinned:
            return None
        if self._visible is not None and child.bulkhead_published > self._visible:
            return None
        whole = child.key.match_at(public, offset=length, page_size=self.page_size)
        return child if whole == len(child.key) else None
