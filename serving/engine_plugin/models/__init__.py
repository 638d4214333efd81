"""The models that a worker knows before it looks through all of SGLang's.

SGLang imports each of the 250 models that it has. With a package named in
SGLANG_EXTERNAL_MODEL_PACKAGE it imports that one's only, and all others when the model is none of
them. Each module here names one in `EntryClass`.
"""

PACKAGE = __name__
