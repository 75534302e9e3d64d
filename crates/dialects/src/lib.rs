//! Wire protocols: bytes to a call, a reply to bytes; pure.
