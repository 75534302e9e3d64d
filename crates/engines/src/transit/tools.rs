//! Digests and random bytes, as `sys/tools` has them.

use super::Transit;
use coffer_engine::Declare;
use coffer_engine::tools::{PLAIN, hash, random};

pub(super) fn declare(d: &mut Declare<Transit>) {
    d.at("hash").about("The digest of some bytes.").plain(PLAIN).write(hash);
    d.at("hash/{urlalgorithm}").about("The digest of some bytes.").plain(PLAIN).write(hash);
    d.at("random").about("Random bytes.").plain(PLAIN).write(random);
    // `random/{urlbytes}` and `random/{source}` are one place in the path.
    d.at("random/{source}").about("Random bytes, so many or from a source.").plain(PLAIN).write(random);
    d.at("random/{source}/{urlbytes}").about("So many random bytes from a source.").plain(PLAIN).write(random);
}
