"""The contract that every vector store fulfils: subclass it with two fixtures.

    pytest.register_assert_rewrite("rag.testing")  # in conftest.py, for readable failures

    class TestMyStore(StoreContract):
        @pytest.fixture
        async def store(self): ...       # an empty store, of `merchants.DIMENSION` numbers

        @pytest.fixture
        def breakable(self, monkeypatch): ...   # how to break it: `twins.Breakable`

Needs pytest, pytest-asyncio in auto mode, and hypothesis.
"""

from __future__ import annotations

from rag.testing.boundary import BoundaryContract
from rag.testing.filter_oracle import FilterContract
from rag.testing.group_access import GroupAccessContract
from rag.testing.lifecycle import LifeCycleContract
from rag.testing.twins import TwinContract


class StoreContract(
    LifeCycleContract, BoundaryContract, GroupAccessContract, FilterContract, TwinContract
):
    """Everything that a store promises, attacked, with the leaks that must be caught."""
