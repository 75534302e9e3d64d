//! Declarations that could be read two ways, or that leak, are refused before anything runs.

use coffer_engine::declare::Declared;
use coffer_engine::{Ctx, Declare, Engine, LeaseKind, Mount, NoInput, Record, Reply, Terms};
use coffer_types::Result;
use serde::{Deserialize, Serialize};

async fn nothing<E: Engine>(_: Ctx<E>, _: NoInput) -> Result<Reply<()>> {
    Ok(Reply::empty())
}

#[derive(Serialize, Deserialize)]
struct Creds;

impl Record for Creds {
    const FORMAT: u8 = 1;
}

impl LeaseKind for Creds {
    const NAME: &'static str = "creds";
}

/// Each declaration with a word of the fault that it must be refused for.
macro_rules! refused {
    ($($name:ident: |$d:ident| $declare:block => $fault:literal;)*) => {$(
        #[test]
        fn $name() {
            struct Faulty;
            impl Engine for Faulty {
                const KIND: &'static str = "faulty";
                fn open(_: &Mount) -> Result<Self> {
                    Ok(Self)
                }
                fn declare($d: &mut Declare<Self>) $declare
            }
            let faults = Declared::<Faulty>::new().err().expect("a refusal");
            assert!(faults.iter().any(|f| f.contains($fault)), "{faults:?}");
        }
    )*};
}

refused! {
    the_same_path_twice: |d| { d.at("a/b").read(nothing); d.at("a/b").delete(nothing); } => "a/b: this path is declared twice";
    two_names_for_one_variable: |d| { d.at("a/{x}").read(nothing); d.at("a/{y}/b").read(nothing); } => "{y} is called {x}";
    two_tails: |d| { d.at("a/{x...}").read(nothing); d.at("a/{y...}").list(nothing); } => "declared twice";
    a_variable_behind_a_tail: |d| { d.at("a/{x...}/{y}").read(nothing); } => "only literal segments may follow a tail";
    the_same_ending_twice: |d| { d.at("a/{x...}/b").read(nothing); d.at("a/{y...}/b").read(nothing); } => "declared twice";
    an_empty_segment: |d| { d.at("a//b").read(nothing); } => "malformed";
    a_leading_slash: |d| { d.at("/a").read(nothing); } => "malformed";
    a_trailing_slash: |d| { d.at("a/").list(nothing); } => "malformed";
    half_a_variable: |d| { d.at("a/x{y}").read(nothing); } => "malformed";
    no_operation: |d| { d.at("a"); } => "a: no operation";
    an_operation_twice: |d| { d.at("a").read(nothing).read(nothing); } => "read is declared twice";
    a_verb_twice: |d| { d.verb("Get").read(nothing); d.verb("Get").read(nothing); } => "verb Get is declared twice";
    a_lease_that_nothing_revokes: |d| {
        drop(d.lease::<Creds>().renew(|_, _: Creds| async { Ok(Terms::default()) }));
    } => "nothing that revokes it";
}
