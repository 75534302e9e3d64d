//! The binary: one table of commands, under the name that it was called by.
//!
//! What was typed becomes a [`cli::Call`] by the table in [`command`]; the call runs and ends in an exit
//! code: 0 done, 1 wrong use or a local fault, 2 the server refused, is sealed or has no such value,
//! 127 no such command.

mod cli;
mod command;
mod output;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    small_pages();
    // An argument that is no text is refused, not mended: it may be a secret to be stored.
    let args: Result<Vec<String>, usize> =
        std::env::args_os().enumerate().map(|(number, arg)| arg.into_string().map_err(|_| number)).collect();
    std::process::exit(i32::from(cli::main(args, coffer_client::Environment::Process)));
}

/// The allocator sets whole arenas aside, of which little is used: as huge pages they would all be resident, 9 MB of an idle
/// server. Where the system has no such switch nothing is lost but that memory.
fn small_pages() {
    #[cfg(target_os = "linux")]
    rustix::thread::disable_transparent_huge_pages(true).unwrap_or_default();
}
