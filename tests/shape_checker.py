"""The runtime checker behind the jaxtyping hook: beartype, to which an int passes for a float."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
