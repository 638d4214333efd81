"""The library inside one application, for two tenants: python two_tenants.py FOLDER"""

from __future__ import annotations

import sys
from pathlib import Path

from llama_index.core.llms import MockLLM
from llama_index.core.schema import Document

from isolation.access import UNRESTRICTED, Access, restricted_to
from isolation.errors import InvalidCredentialError
from isolation.identity import Identity
from rag.llama_index.index import TenantIndex
from serving.embedded.library import Library

# An application proves its users' sessions in its own way; here a dictionary does.
SESSIONS: dict[str, tuple[str, Access]] = {
    "token-of-fjellvik": ("fjellvik", UNRESTRICTED),
    "token-of-voltbay": ("voltbay", UNRESTRICTED),
    "token-of-a-clerk": ("voltbay", restricted_to(["counter"])),
}
FACTS = {"fjellvik": "30 days", "voltbay": "14 days"}


class Sessions:
    """The one place that says whose a credential is."""

    async def verify(self, credential: str) -> Identity | None:
        if credential not in SESSIONS:
            return None
        tenant, access = SESSIONS[credential]
        return Identity(tenant, tier="business", credential_id=f"{tenant}-session", access=access)


def main(folder: Path) -> None:
    with Library(folder, Sessions()) as library:
        for tenant, fact in FACTS.items():
            index = TenantIndex(library.authenticate(f"token-of-{tenant}"))
            # Both use the same id: an id is the tenant's own.
            index.insert(Document(id_="returns", text=f"Returns within {fact}."))

        for tenant in FACTS:
            engine = TenantIndex(library.authenticate(f"token-of-{tenant}")).as_query_engine(
                llm=MockLLM()
            )
            sources = engine.query("How long may I return something?").source_nodes
            print(tenant, [source.node.get_content().splitlines()[-1] for source in sources])

        owner = library.authenticate("token-of-voltbay")
        owner.put("margins", "The margin on headphones is 40%.", groups=["office"])
        clerk = library.authenticate("token-of-a-clerk")
        print("the clerk sees", [one.document_id for one in clerk.documents()])

        try:
            library.authenticate("token-of-nobody")
        except InvalidCredentialError as error:
            print("refused:", error.code)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
