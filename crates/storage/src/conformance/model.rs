//! Random batches and reads, compared with an ordered map.

use super::{key, names};
use crate::{Batch, Expect, Revision, Snapshot, Store};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Revision)>;

pub(super) async fn agrees_with_an_ordered_map(store: Arc<dyn Store>, seed: u64, rounds: usize) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut model = Model::new();
    let mut kept: Vec<(Arc<dyn Snapshot>, Model)> = Vec::new();
    for round in 0..rounds {
        let context = format!("seed {seed}, round {round}");
        commit(&*store, &mut model, &mut random, &context).await;
        compare(&*store.snapshot(), &model, &mut random, &context).await;
        if random.below(10) == 0 {
            kept.push((store.snapshot(), model.clone()));
        }
        if kept.len() > 4 {
            let (snapshot, then) = kept.swap_remove(random.below(kept.len()));
            for _ in 0..4 {
                compare(&*snapshot, &then, &mut random, &context).await;
            }
        }
    }
}

async fn commit(store: &dyn Store, model: &mut Model, random: &mut Random, context: &str) {
    let mut batch = Batch::default();
    let mut holds = true;
    for _ in 0..random.below(3) {
        let name = random.known_or_new(model);
        let expect = match random.below(4) {
            0 => Expect::Absent,
            1 => Expect::At(Revision(random.below(100) as u64)),
            _ => model.get(&name).map_or(Expect::Absent, |(_, revision)| Expect::At(*revision)),
        };
        holds &= match (model.get(&name), expect) {
            (None, Expect::Absent) => true,
            (Some((_, revision)), Expect::At(expected)) => *revision == expected,
            _ => false,
        };
        batch = batch.check(key(&name), expect);
    }
    let mut after = model.clone();
    let revision = Revision(store.revision().0 + 1);
    for _ in 0..random.below(6) {
        let name = random.known_or_new(model);
        if random.below(3) == 0 {
            batch = batch.delete(key(&name));
            after.remove(&name);
        } else {
            let value = random.bytes(20);
            batch = batch.put(key(&name), value.clone());
            after.insert(name, (value, revision));
        }
    }
    let writes = !batch.writes.is_empty();
    match store.commit(batch).await {
        Ok(committed) => {
            assert!(holds, "{context}: a check was passed over");
            if writes {
                // Only this task commits, so the numbers are adjacent in every kind we have; rising is what counts.
                assert!(committed >= revision, "{context}");
                after.values_mut().filter(|entry| entry.1 == revision).for_each(|entry| entry.1 = committed);
                *model = after;
            }
        }
        Err(error) => assert!(error.is_conflict() && !holds, "{context}: {error}"),
    }
}

async fn compare(snapshot: &dyn Snapshot, model: &Model, random: &mut Random, context: &str) {
    let name = random.known_or_new(model);
    let entry = snapshot.get(&name).await.unwrap();
    let found = entry.map(|entry| (entry.value.to_vec(), entry.revision));
    assert_eq!(found.as_ref(), model.get(&name), "{context}: get {}", name.escape_ascii());

    let name = random.known_or_new(model);
    let prefix = name[..random.below(name.len() + 1)].to_vec();
    let after = (random.below(2) == 0).then(|| random.known_or_new(model));
    let limit = random.below(8);
    let expected: Vec<_> = model
        .iter()
        .filter(|(key, _)| key.starts_with(&prefix) && after.as_ref().is_none_or(|after| *key > after))
        .take(limit)
        .map(|(key, (value, revision))| (key.clone(), value.clone(), *revision))
        .collect();
    let scanned = snapshot.scan(&prefix, after.as_deref(), limit).await.unwrap();
    let scanned: Vec<_> = scanned.into_iter().map(|(key, entry)| (key.to_vec(), entry.value.to_vec(), entry.revision)).collect();
    let context = format!("{context}: below {} after {after:?}", prefix.escape_ascii());
    assert_eq!(scanned, expected, "{context}");
    let listed = names(snapshot.list(&prefix, after.as_deref(), limit).await.unwrap());
    assert!(listed.iter().eq(expected.iter().map(|(key, ..)| key)), "{context}");

    let folder = match prefix.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => &prefix[..=slash],
        None => &[],
    };
    let children: BTreeSet<Vec<u8>> = model
        .keys()
        .filter_map(|key| key.strip_prefix(folder))
        .filter(|rest| !rest.is_empty())
        .map(|rest| rest.split_inclusive(|byte| *byte == b'/').next().unwrap().to_vec())
        .collect();
    let after = (random.below(2) == 0).then(|| random.bytes(3));
    let expected: Vec<_> =
        children.into_iter().filter(|child| after.as_ref().is_none_or(|after| child > after)).take(limit).collect();
    let found = names(snapshot.children(folder, after.as_deref(), limit).await.unwrap());
    assert_eq!(found, expected, "{context}: children of {}", folder.escape_ascii());
}

/// Xorshift: the same numbers for the same seed, which a failure names.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 33) as usize) % limit
    }

    fn bytes(&mut self, limit: usize) -> Vec<u8> {
        const BYTES: &[u8] = b"aab//\x00\xff.0";
        let length = self.below(limit + 1);
        (0..length).map(|_| BYTES[self.below(BYTES.len())]).collect()
    }

    fn known_or_new(&mut self, model: &Model) -> Vec<u8> {
        if !model.is_empty() && self.below(3) > 0 {
            let number = self.below(model.len());
            return model.keys().nth(number).unwrap().clone();
        }
        let mut name = self.bytes(5);
        name.push(b"ab/\xff"[self.below(4)]);
        name
    }
}
