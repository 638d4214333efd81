"""What all tests share."""

import pytest
from hypothesis import settings

# The store contract's assertions explain themselves, as those of test modules do.
pytest.register_assert_rewrite("rag.testing")

# Times belong into benchmarks: a busy machine fails no property.
settings.register_profile("bulkhead", deadline=None)
settings.load_profile("bulkhead")
