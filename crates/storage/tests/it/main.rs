//! Every kind of store against one suite, and the embedded one against crashes.

mod kinds;
