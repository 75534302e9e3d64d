use super::*;
use crate::kv::V2;
use coffer_engine::testing::Bench;
use coffer_types::Span;
use coffer_types::json::{Limits, Text, parse};

/// A bench whose engine does not matter: the kernel is called by itself.
fn bench() -> Bench {
    Bench::new::<V2>("secret/", &[])
}

fn text(value: &str) -> Put {
    put(from_text(&Text::new(value)))
}

fn put(payload: Payload) -> Put {
    Put {
        payload,
        expect: Expect::Anything,
        native_id: None,
        current: true,
        labels: Vec::new(),
        keep: 0,
        deletes_at: Timestamp::NEVER,
        attrs: BTreeMap::new(),
    }
}

/// One change of the record `name` in a transaction of its own; the kernel's refusal, or the record after.
fn change(bench: &Bench, name: &str, work: impl AsyncFnOnce(&Records<'_>, &mut Record) -> Result<()>) -> Result<Record> {
    let mut refused = None;
    let done = bench.within(async |view, inner| {
        let records = Records::new(&view, inner.now);
        let mut record = match records.load(name).await? {
            Some(record) => record,
            None => {
                let mut id = [0; 16];
                inner.host.fill_random(&mut id);
                records.create(id)
            }
        };
        if let Err(fault) = work(&records, &mut record).await {
            refused = Some(fault);
            return Err(Error::bad_request("refused"));
        }
        Ok(record)
    });
    match refused {
        Some(fault) => Err(fault),
        None => Ok(done.unwrap()),
    }
}

fn write(bench: &Bench, name: &str, put: Put) -> Result<Record> {
    change(bench, name, async |records, record| records.put(name, record, put).await.map(drop))
}

/// The payload of a version as text.
fn read(bench: &Bench, name: &str, selector: Selector<'_>) -> Result<String> {
    let mut found = Err(Fault::NoVersion);
    bench
        .within(async |view, inner| {
            let records = Records::new(&view, inner.now);
            let Some(record) = records.load(name).await? else { return Ok(()) };
            let Some(version) = record.select(&selector) else { return Ok(()) };
            found = match records.payload(&record, version).await {
                Ok(stored) => Ok(String::from_utf8(payload_bytes(&stored)?.to_vec()).unwrap()),
                Err(fault) => Err(fault),
            };
            Ok(())
        })
        .unwrap();
    found
}

fn seqs(record: &Record) -> Vec<u64> {
    record.versions.iter().map(|v| v.seq).collect()
}

#[test]
fn a_put_makes_the_version_current_and_moves_the_labels() {
    let b = bench();
    write(&b, "a", text("one")).unwrap();
    let record = write(&b, "a", text("two")).unwrap();
    assert_eq!((record.current, record.previous, record.last, record.revision), (2, 1, 2, 2));
    assert_eq!(read(&b, "a", Selector::Label(CURRENT)).unwrap(), "two");
    assert_eq!(read(&b, "a", Selector::Label(PREVIOUS)).unwrap(), "one");
    assert_eq!((record.labels_of(2), record.labels_of(1)), (vec![CURRENT], vec![PREVIOUS]));
}

#[test]
fn what_is_pending_is_not_current() {
    let b = bench();
    write(&b, "a", text("one")).unwrap();
    let pending = Put { current: false, labels: vec![PENDING.into()], ..text("two") };
    let record = write(&b, "a", pending).unwrap();
    assert_eq!((record.current, record.last), (1, 2));
    assert_eq!(read(&b, "a", Selector::Current).unwrap(), "one");
    assert_eq!(read(&b, "a", Selector::Label(PENDING)).unwrap(), "two");
    assert_eq!(read(&b, "a", Selector::Newest).unwrap(), "two");
    // `cas` compares with what is current, not with the highest number.
    let stale = Put { expect: Expect::Current(2), ..text("three") };
    assert!(matches!(write(&b, "a", stale), Err(Fault::Conflict)));
    let record = write(&b, "a", Put { expect: Expect::Current(1), ..text("three") }).unwrap();
    assert_eq!((record.current, record.previous), (3, 1));
}

#[test]
fn moving_the_label_back_moves_current() {
    let b = bench();
    for value in ["one", "two", "three"] {
        write(&b, "a", text(value)).unwrap();
    }
    let record = change(&b, "a", async |r, record| r.move_label("a", record, CURRENT, Some(1))).unwrap();
    assert_eq!((record.current, record.previous), (1, 3));
    assert_eq!(read(&b, "a", Selector::Current).unwrap(), "one");
    for (label, to) in [(CURRENT, Some(9)), ("mine", Some(9)), ("mine", None)] {
        let moved = change(&b, "a", async |r, record| r.move_label("a", record, label, to));
        assert!(matches!(moved, Err(Fault::NoVersion)), "{label}");
    }
    assert!(matches!(change(&b, "a", async |r, record| r.move_label("a", record, CURRENT, None)), Err(Fault::Conflict)));
    change(&b, "a", async |r, record| r.set_state("a", record, &[2], Change::Destroy).map(drop)).unwrap();
    let onto = change(&b, "a", async |r, record| r.move_label("a", record, CURRENT, Some(2)));
    assert!(matches!(onto, Err(Fault::Destroyed)));
}

#[test]
fn a_native_id_stands_for_one_content() {
    let b = bench();
    let token = "token-of-thirty-two-characters-00";
    let mine = |value: &str| Put { native_id: Some(token.into()), ..text(value) };
    write(&b, "a", mine("one")).unwrap();
    let again = write(&b, "a", mine("one")).unwrap();
    assert_eq!(seqs(&again), [1]);
    assert!(matches!(write(&b, "a", mine("two")), Err(Fault::NativeIdTaken)));
    assert_eq!(read(&b, "a", Selector::Native(token)).unwrap(), "one");
    let record = write(&b, "a", text("two")).unwrap();
    let derived = record.native_id(record.versions.last().unwrap());
    assert_eq!((derived.len(), &derived[14..15]), (36, "4"), "{derived}");
    assert_eq!(read(&b, "a", Selector::Native(&derived)).unwrap(), "two");
    assert!(matches!(write(&b, "a", Put { native_id: Some(derived), ..text("x") }), Err(Fault::NativeIdTaken)));
}

#[test]
fn numbers_are_never_given_twice() {
    let b = bench();
    for value in ["one", "two", "three"] {
        write(&b, "a", Put { keep: 1, ..text(value) }).unwrap();
    }
    let record = change(&b, "a", async |r, record| r.set_state("a", record, &[3], Change::Destroy).map(drop)).unwrap();
    assert_eq!(seqs(&record), [3]);
    assert_eq!(write(&b, "a", text("four")).unwrap().current, 4);
}

#[test]
fn prunes_the_oldest_but_what_bears_a_label() {
    let b = bench();
    let kept = |value: &str| Put { keep: 2, ..text(value) };
    for n in 0..4 {
        write(&b, "a", kept(&n.to_string())).unwrap();
    }
    let record = change(&b, "a", async |r, record| r.move_label("a", record, "release", Some(3))).unwrap();
    assert_eq!((seqs(&record), record.oldest), (vec![3, 4], 3));
    for n in 4..7 {
        write(&b, "a", kept(&n.to_string())).unwrap();
    }
    assert_eq!(read(&b, "a", Selector::Label("release")).unwrap(), "2");
    // The previous one is kept too, wherever it stands.
    change(&b, "a", async |r, record| r.move_label("a", record, CURRENT, Some(3))).unwrap();
    let record = write(&b, "a", kept("7")).unwrap();
    assert_eq!((record.previous, seqs(&record)), (3, vec![3, 7, 8]));
    let record = change(&b, "a", async |r, record| r.move_label("a", record, "release", None)).unwrap();
    assert!(record.labels.is_empty());
    // Of payloads, only those of versions that are there.
    let payloads = b.keys().iter().filter(|k| k.starts_with("ver/")).count();
    assert_eq!(payloads, record.versions.len());
}

#[test]
fn one_version_means_one() {
    let b = bench();
    write(&b, "a", Put { keep: 1, ..text("one") }).unwrap();
    let record = write(&b, "a", Put { keep: 1, ..text("two") }).unwrap();
    assert_eq!((seqs(&record), record.current, record.previous, record.oldest), (vec![2], 2, 0, 2));
}

#[test]
fn states_hide_and_destruction_is_for_good() {
    let b = bench();
    write(&b, "a", text("one")).unwrap();
    let set = |to: Change| change(&b, "a", async |r, record| r.set_state("a", record, &[1, 9], to).map(drop)).unwrap();
    for (to, shows) in [
        (Change::Disable, false),
        (Change::Enable, true),
        (Change::Delete, false),
        (Change::Undelete { deletes_at: Timestamp::NEVER }, true),
        (Change::Destroy, false),
        (Change::Undelete { deletes_at: Timestamp::NEVER }, false),
        (Change::Enable, false),
    ] {
        set(to);
        assert_eq!(read(&b, "a", Selector::Current).is_ok(), shows, "{to:?}");
    }
    assert!(!b.keys().iter().any(|k| k.starts_with("ver/")));
}

#[test]
fn time_deletes() {
    let b = bench();
    let at = b.now().plus(Span::from_secs(60).duration());
    write(&b, "a", Put { deletes_at: at, ..text("one") }).unwrap();
    assert!(read(&b, "a", Selector::Current).is_ok());
    b.pass(Span::from_secs(60));
    assert!(matches!(read(&b, "a", Selector::Current), Err(Fault::NoVersion)));
}

#[test]
fn a_scheduled_deletion_stops_everything_until_it_is_undone() {
    let b = bench();
    write(&b, "a", text("one")).unwrap();
    let day = b.now().plus(Span::from_secs(86_400).duration());
    change(&b, "a", async |r, record| r.schedule_delete("a", record, day)).unwrap();
    assert!(matches!(read(&b, "a", Selector::Current), Err(Fault::DeletionScheduled)));
    assert!(matches!(write(&b, "a", text("two")), Err(Fault::DeletionScheduled)));
    for refused in [
        change(&b, "a", async |r, record| r.set_state("a", record, &[1], Change::Destroy).map(drop)),
        change(&b, "a", async |r, record| r.move_label("a", record, "x", Some(1))),
        change(&b, "a", async |r, record| r.update_meta("a", record, Expect::Anything, |_| ())),
        change(&b, "a", async |r, record| r.schedule_delete("a", record, day)),
        change(&b, "a", async |r, record| r.purge("a", record, false)),
    ] {
        assert!(matches!(refused, Err(Fault::DeletionScheduled)));
    }
    change(&b, "a", async |r, record| r.restore("a", record)).unwrap();
    assert!(matches!(change(&b, "a", async |r, record| r.restore("a", record)), Err(Fault::NotScheduled)));
    assert_eq!(read(&b, "a", Selector::Current).unwrap(), "one");
    // Its day comes: the name is free again, with numbers from the start.
    change(&b, "a", async |r, record| r.schedule_delete("a", record, day)).unwrap();
    b.pass(Span::from_secs(86_400));
    let record = write(&b, "a", text("new")).unwrap();
    assert_eq!((record.current, record.last), (1, 1));
    // Nothing of the old one stays behind, in whatever order it was met.
    change(&b, "a", async |r, record| r.schedule_delete("a", record, b.now())).unwrap();
    assert!(matches!(read(&b, "a", Selector::Current), Err(Fault::NoVersion)));
    assert!(b.keys().is_empty(), "{:?}", b.keys());
}

#[test]
fn a_purge_leaves_nothing() {
    let b = bench();
    write(&b, "a", text("one")).unwrap();
    write(&b, "a", text("two")).unwrap();
    change(&b, "a", async |r, record| r.purge("a", record, false)).unwrap();
    assert!(b.keys().is_empty(), "{:?}", b.keys());
}

#[test]
fn expectations_are_held() {
    let b = bench();
    for expect in [Expect::Current(1), Expect::Revision(1)] {
        assert!(matches!(write(&b, "a", Put { expect, ..text("x") }), Err(Fault::Conflict)));
    }
    let record = write(&b, "a", Put { expect: Expect::Current(0), ..text("x") }).unwrap();
    let renamed = change(&b, "a", async |r, rec| {
        r.update_meta("a", rec, Expect::Revision(record.revision), |rec| drop(rec.tags.insert("k".into(), "v".into())))
    });
    assert_eq!(renamed.unwrap().settings_revision, 1);
    let stale = change(&b, "a", async |r, rec| r.update_meta("a", rec, Expect::Revision(record.revision), |_| ()));
    assert!(matches!(stale, Err(Fault::Conflict)));
}

#[test]
fn a_record_of_another_format_is_not_guessed_at() {
    let b = bench();
    let read = b.within(async |view, inner| {
        view.put_bytes("meta/a", Zeroizing::new(b"\x09{}".to_vec()));
        Records::new(&view, inner.now).load("a").await.map(drop)
    });
    assert_eq!(read.unwrap_err().kind, coffer_types::Kind::Internal);
}

/// Yesterday's data: a record as format 1 writes it, kept here as text.
#[test]
fn reads_format_1() {
    const STORED: &str = r#"{"id":"07070707070707070707070707070707","created":1795404202000000000,"updated":1795404203000000000,"revision":3,"settings_revision":1,"last":2,"current":2,"previous":1,"max_versions":4,"labels":{"release":1},"custom":{"owner":"me"},"attrs":{"kv":{"cas_required":true}},"versions":[{"n":1,"c":1795404202000000000,"d":1795404203000000000},{"n":2,"c":1795404203000000000,"s":"text","i":"native"}]}"#;
    let record: Record = coffer_engine::view::decode(format!("\x01{STORED}").as_bytes()).unwrap();
    assert_eq!((record.current, record.max_versions, record.custom["owner"].as_str()), (2, 4, "me"));
    assert_eq!(record.versions[1].shape, Shape::Text);
    assert_eq!(record.versions[0].state(record.updated), State::Deleted(record.updated));
    assert_eq!(coffer_engine::view::encode(&record).unwrap()[1..], *STORED.as_bytes());
}

#[test]
fn every_projection() {
    const VECTORS: &str = include_str!("../../../../vectors/records/projections.txt");
    let mut cases = 0;
    for case in VECTORS.split("\n\n") {
        let fields: BTreeMap<&str, &str> = case
            .lines()
            .filter(|l| !l.starts_with('#'))
            .filter_map(|l| l.split_once('='))
            .map(|(name, value)| (name.trim(), value.strip_prefix(' ').unwrap_or(value)))
            .collect();
        let unhex = |text: &str| -> Vec<u8> {
            (0..text.len() / 2).map(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).unwrap()).collect()
        };
        let written = if let Some(map) = fields.get("map") {
            from_map(&parse(map.as_bytes(), &Limits::NONE).unwrap())
        } else if let Some(text) = fields.get("text") {
            from_text(&Text::new(*text))
        } else {
            from_bytes(Zeroizing::new(unhex(fields["bytes"])), fields.contains_key("may_be_text"))
        };
        let (shape, bytes) = (written.shape, &written.bytes[..]);
        assert_eq!(shape.as_str(), fields["shape"], "{case}");
        let map = to_map(shape, bytes).unwrap();
        assert_eq!(std::str::from_utf8(&map.to_bytes()).unwrap(), fields["as_map"], "{case}");
        assert_eq!(to_text(shape, bytes).unwrap().unwrap_or("–"), fields["as_text"], "{case}");
        let value = match to_value(shape, bytes).unwrap() {
            Value::Text(text) => {
                assert_eq!(text, fields["as_text"], "{case}");
                "text"
            }
            Value::Binary(binary) => {
                assert_eq!(binary, bytes);
                "binary"
            }
        };
        assert_eq!(value, fields["as_value"], "{case}");
        assert_eq!(to_bytes(shape, bytes), unhex(fields["as_bytes"]), "{case}");
        cases += 1;
    }
    assert_eq!(cases, 16);
}

/// One random change, small enough that changes meet one another.
#[derive(Clone, Debug)]
enum Step {
    Put { current: bool, label: Option<u8>, keep: u32, expect: Option<u64> },
    Set(u64, Change),
    Move(u8, Option<u64>),
    Schedule,
    Restore,
    Purge,
    Pass(i64),
}

fn steps() -> impl proptest::strategy::Strategy<Value = Vec<Step>> {
    use proptest::prelude::*;
    let change = prop_oneof![
        Just(Change::Enable),
        Just(Change::Disable),
        Just(Change::Delete),
        Just(Change::Undelete { deletes_at: Timestamp::NEVER }),
        Just(Change::Destroy),
    ];
    let step = prop_oneof![
        6 => (any::<bool>(), prop::option::of(0u8..3), 0u32..4, prop::option::weighted(0.2, 0u64..6))
            .prop_map(|(current, label, keep, expect)| Step::Put { current, label, keep, expect }),
        3 => (1u64..8, change).prop_map(|(seq, change)| Step::Set(seq, change)),
        3 => (0u8..5, prop::option::weighted(0.8, 1u64..8)).prop_map(|(label, to)| Step::Move(label, to)),
        1 => Just(Step::Schedule),
        2 => Just(Step::Restore),
        1 => Just(Step::Purge),
        1 => (1i64..200).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..40)
}

fn label(n: u8) -> &'static str {
    [PENDING, "blue", "green", CURRENT, PREVIOUS][usize::from(n)]
}

proptest::proptest! {
    /// Whatever is done in whatever order: what no protocol may break is not broken.
    #[test]
    fn no_order_of_changes_breaks_the_rules(steps in steps()) {
        let b = bench();
        // Numbers seen since the record last began anew.
        let mut highest = (String::new(), 0u64);
        for step in steps {
            let day = b.now().plus(Span::from_secs(100).duration());
            let outcome = match step.clone() {
                Step::Put { current, label: at, keep, expect } => {
                    let labels = at.map(label).map(str::to_owned).into_iter().collect();
                    let expect = expect.map_or(Expect::Anything, Expect::Current);
                    write(&b, "a", Put { current, labels, keep, expect, ..text("x") }).map(drop)
                }
                Step::Set(seq, to) => change(&b, "a", async |r, record| r.set_state("a", record, &[seq], to).map(drop)).map(drop),
                Step::Move(at, to) => change(&b, "a", async |r, record| r.move_label("a", record, label(at), to)).map(drop),
                Step::Schedule => change(&b, "a", async |r, record| r.schedule_delete("a", record, day)).map(drop),
                Step::Restore => change(&b, "a", async |r, record| r.restore("a", record)).map(drop),
                Step::Purge => change(&b, "a", async |r, record| r.purge("a", record, false)).map(drop),
                Step::Pass(secs) => {
                    b.pass(Span::from_secs(secs));
                    Ok(())
                }
            };
            if let Err(Fault::Failed(error)) = outcome {
                panic!("{step:?}: {error:?}");
            }
            let mut record = None;
            b.within(async |view, inner| {
                record = Records::new(&view, inner.now).load("a").await?;
                Ok(())
            })
            .unwrap();
            let Some(record) = record else {
                proptest::prop_assert!(b.keys().is_empty(), "{step:?} left {:?}", b.keys());
                continue;
            };
            let there = seqs(&record);
            proptest::prop_assert!(there.is_sorted() && there.iter().all(|seq| *seq <= record.last), "{step:?}");
            for held in [record.current, record.previous].into_iter().chain(record.labels.values().copied()) {
                proptest::prop_assert!(held == 0 || there.contains(&held), "{step:?}: {held} is gone from {there:?}");
            }
            if highest.0 == record.id && highest.1 > 0 {
                proptest::prop_assert!(record.last >= highest.1, "{step:?}: a number came again");
            }
            highest = (record.id.clone(), record.last);
            let mut payloads: Vec<String> =
                record.versions.iter().filter(|v| !v.is_destroyed()).map(|v| payload_key(&record.id, v.seq)).collect();
            payloads.sort();
            let stored: Vec<String> = b.keys().into_iter().filter(|k| k.starts_with("ver/")).collect();
            proptest::prop_assert_eq!(stored, payloads, "{:?}", step);
            let mut ids: Vec<String> = record.versions.iter().map(|v| record.native_id(v)).collect();
            ids.dedup();
            proptest::prop_assert_eq!(ids.len(), there.len());
        }
    }
}
