echo hi
# -----BEGIN PGP SIGNATURE-----
# iQEz
# -----END PGP SIGNATURE-----
