//! Whatever is done to identity, in whatever order: what leads to a record leads to it, and nothing leads nowhere.

use super::identity::Stage;
use coffer_core::identity::record::{
    ALIAS_IDS, ALIASES, ENTITY_NAMES, GROUP_ALIAS_IDS, GROUP_ALIASES, GROUP_NAMES, MEMBERS, MERGED, Pointer,
};
use coffer_core::identity::{Entity, Group};
use coffer_types::Json;
use std::collections::BTreeSet;

/// Small numbers from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn one<'t>(&mut self, of: &'t [String]) -> &'t str {
        let at = usize::try_from(self.below(of.len().max(1) as u64)).unwrap();
        of.get(at).map_or("none", String::as_str)
    }

    fn name(&mut self) -> String {
        let name = ["ann", "bob", "carl", "dora"][usize::try_from(self.below(4)).unwrap()];
        if self.below(3) == 0 { name.to_uppercase() } else { name.to_owned() }
    }
}

/// The ids of a list, and those of the aliases in it.
async fn ids(s: &Stage, path: &str) -> Vec<String> {
    let listed = s.root("LIST", path, "").await;
    let keys = listed.body.at("data/keys").and_then(Json::as_array).unwrap_or_default();
    keys.iter().filter_map(|k| k.as_str()).map(str::to_owned).collect()
}

async fn act(s: &Stage, dice: &mut Dice) -> u16 {
    let (entities, aliases) = (ids(s, "identity/entity/id").await, ids(s, "identity/entity-alias/id").await);
    let (groups, group_aliases) = (ids(s, "identity/group/id").await, ids(s, "identity/group-alias/id").await);
    let accessor = if dice.below(2) == 0 { s.one.clone() } else { s.two.clone() };
    let mount = if dice.below(2) == 0 { "one" } else { "two" };
    let (a, b) = (dice.one(&entities).to_owned(), dice.one(&entities).to_owned());
    let (g, h) = (dice.one(&groups).to_owned(), dice.one(&groups).to_owned());
    let (n, m) = (dice.name(), dice.name());
    let (alias, group_alias) = (dice.one(&aliases).to_owned(), dice.one(&group_aliases).to_owned());
    let (method, path, body) = match dice.below(18) {
        0..3 => return s.try_login(mount, &format!(r#"{{"alias":"{n}","groups":["{m}"]}}"#)).await.status,
        3 => ("POST", "identity/entity".to_owned(), format!(r#"{{"name":"{n}"}}"#)),
        4 => ("POST", format!("identity/entity/id/{a}"), format!(r#"{{"name":"{n}"}}"#)),
        5 => ("DELETE", format!("identity/entity/id/{a}"), String::new()),
        6 => (
            "POST",
            "identity/entity-alias".to_owned(),
            format!(r#"{{"name":"{n}","mount_accessor":"{accessor}","canonical_id":"{a}"}}"#),
        ),
        7 => ("POST", format!("identity/entity-alias/id/{alias}"), format!(r#"{{"name":"{n}"}}"#)),
        8 => ("POST", format!("identity/entity-alias/id/{alias}"), format!(r#"{{"canonical_id":"{a}"}}"#)),
        9 => ("POST", format!("identity/entity-alias/id/{alias}"), format!(r#"{{"mount_accessor":"{accessor}"}}"#)),
        10 => ("DELETE", format!("identity/entity-alias/id/{alias}"), String::new()),
        11 => {
            let keep =
                if dice.below(2) == 0 { format!(r#","conflicting_alias_ids_to_keep":["{alias}"]"#) } else { String::new() };
            ("POST", "identity/entity/merge".to_owned(), format!(r#"{{"from_entity_ids":["{a}"],"to_entity_id":"{b}"{keep}}}"#))
        }
        12 => ("POST", "identity/group".to_owned(), format!(r#"{{"name":"{n}","member_entity_ids":["{a}","{b}"]}}"#)),
        13 => {
            ("POST", format!("identity/group/id/{g}"), format!(r#"{{"member_group_ids":["{h}"],"member_entity_ids":["{a}"]}}"#))
        }
        14 => ("DELETE", format!("identity/group/id/{g}"), String::new()),
        15 => ("POST", "identity/group-alias".to_owned(), format!(r#"{{"name":"{n}","mount_accessor":"{accessor}"}}"#)),
        16 => (
            "POST",
            format!("identity/group-alias/id/{group_alias}"),
            format!(r#"{{"name":"{n}","mount_accessor":"{accessor}","canonical_id":"{g}"}}"#),
        ),
        _ => ("DELETE", format!("identity/group-alias/id/{group_alias}"), String::new()),
    };
    s.root(method, &path, &body).await.status
}

/// Everything that leads anywhere, both ways.
async fn check(s: &Stage, what: &str) {
    let live = s.server.core.unsealed().unwrap();
    let (view, store) = (live.view(), &live.identities.store);
    let entities: Vec<Entity> = store.entities(&view, None, usize::MAX).await.unwrap();
    let groups: Vec<Group> = store.groups(&view, None, usize::MAX).await.unwrap();
    let count = async |prefix: &str| view.keys(prefix, None, usize::MAX).await.unwrap().len();
    for e in &entities {
        assert_eq!(store.entity_by_name(&view, &e.name.to_uppercase()).await.unwrap().unwrap().id, e.id, "{what}");
        let accessors: BTreeSet<&str> = e.aliases.iter().map(|a| a.mount_accessor.as_str()).collect();
        assert_eq!(accessors.len(), e.aliases.len(), "{what}: two aliases of one mount");
        for a in &e.aliases {
            assert_eq!(store.entity_by_alias(&view, &a.mount_accessor, &a.name).await.unwrap().unwrap().id, e.id, "{what}");
            assert_eq!(store.entity_by_alias_id(&view, &a.id).await.unwrap().unwrap().id, e.id, "{what}");
        }
        for m in &e.groups {
            let group = groups.iter().find(|g| g.id == m.group).unwrap_or_else(|| panic!("{what}: a group that is no more"));
            let via = group.alias.as_ref().map(|a| &a.mount_accessor);
            assert!(m.via.is_none() || m.via.as_ref() == via, "{what}: in a group by a mount that is not its own");
            assert!(store.members(&view, &m.group).await.unwrap().contains(&e.id), "{what}");
            if let Some(via) = &m.via {
                assert!(e.alias_of(via).is_some(), "{what}: in a group by a mount that does not know it");
            }
        }
        for merged in &e.merged {
            assert_eq!(view.get::<Pointer>(&format!("{MERGED}{merged}")).await.unwrap().unwrap().id, e.id, "{what}");
            assert!(entities.iter().all(|other| other.id != *merged), "{what}");
        }
    }
    for g in &groups {
        assert_eq!(store.group_by_name(&view, &g.name.to_uppercase()).await.unwrap().unwrap().id, g.id, "{what}");
        if let Some(a) = &g.alias {
            assert_eq!(store.group_by_alias(&view, &a.mount_accessor, &a.name).await.unwrap().unwrap().id, g.id, "{what}");
            assert_eq!(store.group_by_alias_id(&view, &a.id).await.unwrap().unwrap().id, g.id, "{what}");
        }
        for (near, far) in [(&g.members, false), (&g.parents, true)] {
            for id in near {
                let other = groups.iter().find(|o| o.id == *id).unwrap_or_else(|| panic!("{what}: a group that is no more"));
                assert!(if far { &other.members } else { &other.parents }.contains(&g.id), "{what}: one-sided");
            }
        }
    }
    let sum = |of: fn(&Entity) -> usize| entities.iter().map(of).sum::<usize>();
    let with_alias = groups.iter().filter(|g| g.alias.is_some()).count();
    for (prefix, expected) in [
        (ENTITY_NAMES, entities.len()),
        (ALIASES, sum(|e| e.aliases.len())),
        (ALIAS_IDS, sum(|e| e.aliases.len())),
        (MEMBERS, sum(|e| e.groups.len())),
        (MERGED, sum(|e| e.merged.len())),
        (GROUP_NAMES, groups.len()),
        (GROUP_ALIASES, with_alias),
        (GROUP_ALIAS_IDS, with_alias),
    ] {
        assert_eq!(count(prefix).await, expected, "{what}: {prefix}");
    }
}

#[tokio::test]
async fn what_leads_to_a_record_leads_to_it() {
    for seed in 0..4u64 {
        let s = Stage::new().await;
        let mut dice = Dice(seed * 7919 + 1);
        let (mut done, mut refused) = (0, 0);
        for step in 0..200 {
            match act(&s, &mut dice).await {
                200 | 204 => done += 1,
                400 | 403 | 404 => refused += 1,
                other => panic!("seed {seed} step {step}: {other}"),
            }
            check(&s, &format!("seed {seed} step {step}")).await;
        }
        assert!(done > 60 && refused > 10, "{done} done, {refused} refused");
    }
}
