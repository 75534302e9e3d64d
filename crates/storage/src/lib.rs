//! Where ciphertext lies: the Store trait and its kinds.
