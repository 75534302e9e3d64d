//! `sys/tools/…`: digests and random bytes.

use super::Sys;
use coffer_engine::Declare;
use coffer_engine::tools::{PLAIN, hash, random};

pub(super) fn declare(d: &mut Declare<Sys>) {
    d.at("tools/hash").about("The digest of some bytes.").plain(PLAIN).write(hash);
    d.at("tools/hash/{urlalgorithm}").about("The digest of some bytes.").plain(PLAIN).write(hash);
    d.at("tools/random").about("Random bytes.").plain(PLAIN).write(random);
    // `random/{urlbytes}` and `random/{source}` are one place in the path.
    d.at("tools/random/{source}").about("Random bytes, so many or from a source.").plain(PLAIN).write(random);
    d.at("tools/random/{source}/{urlbytes}").about("So many random bytes from a source.").plain(PLAIN).write(random);
}
