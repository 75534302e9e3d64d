//! The records of identity and where they stand.

use coffer_engine::view::Record;
use coffer_types::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Below this stands everything of identity.
pub const PREFIX: &str = "identity/";
/// `identity/entity/<id>`: an entity with its aliases and its direct groups.
pub const ENTITIES: &str = "identity/entity/";
/// `identity/group/<id>`
pub const GROUPS: &str = "identity/group/";
/// `identity/merged/<id>`: leads from an entity that was merged away to the one that took it in.
pub const MERGED: &str = "identity/merged/";
/// `identity/entity-name/<tag>`: leads from a name to an entity. A tag is the HMAC of a normalised name.
pub const ENTITY_NAMES: &str = "identity/entity-name/";
/// `identity/alias/<tag>`: leads from a mount's accessor and a name to an entity.
pub const ALIASES: &str = "identity/alias/";
/// `identity/alias-id/<id>`
pub const ALIAS_IDS: &str = "identity/alias-id/";
/// `identity/group-name/<tag>`
pub const GROUP_NAMES: &str = "identity/group-name/";
/// `identity/group-alias/<tag>`
pub const GROUP_ALIASES: &str = "identity/group-alias/";
/// `identity/group-alias-id/<id>`
pub const GROUP_ALIAS_IDS: &str = "identity/group-alias-id/";
/// `identity/member/<group>/<entity>`: the entities of a group. What counts is [`Entity::groups`]; this only lists them.
pub const MEMBERS: &str = "identity/member/";

/// One person or program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Entity {
    /// A UUID; never given twice.
    pub id: String,
    /// As it was written; [`normal_name`] compares.
    pub name: String,
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Normalised, sorted, never `root`.
    #[serde(default)]
    pub policies: Vec<String>,
    /// Nobody logs in as it, and none of its tokens is good.
    #[serde(default)]
    pub disabled: bool,
    /// At most one a mount.
    #[serde(default)]
    pub aliases: Vec<Alias>,
    /// The groups that it is a direct member of. The truth of membership stands here, so that a login reads and writes no
    /// record that others share.
    #[serde(default)]
    pub groups: Vec<Membership>,
    pub created: Timestamp,
    pub updated: Timestamp,
    /// The entities that were merged into it.
    #[serde(default)]
    pub merged: Vec<String>,
}

impl Record for Entity {
    const FORMAT: u8 = 1;
}

impl Entity {
    /// The alias of a mount.
    pub fn alias_of(&self, accessor: &str) -> Option<&Alias> {
        self.aliases.iter().find(|a| a.mount_accessor == accessor)
    }

    pub fn alias_by_id(&self, id: &str) -> Option<&Alias> {
        self.aliases.iter().find(|a| a.id == id)
    }

    pub fn is_member(&self, group: &str) -> bool {
        self.groups.iter().any(|m| m.group == group)
    }
}

/// Why an entity is in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The group's id. One that is no more counts for nothing.
    pub group: String,
    /// For external groups: the accessor of the auth method that said so, and that takes it back.
    #[serde(default)]
    pub via: Option<String>,
}

/// The name that one mount knows an entity or a group by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Alias {
    pub id: String,
    /// As it was written; [`normal_name`] compares.
    pub name: String,
    pub mount_accessor: String,
    /// What the auth method said at the last login.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// What an administrator wrote; `None` until one did.
    #[serde(default)]
    pub custom_metadata: Option<BTreeMap<String, String>>,
    /// Its mount is local to its cluster.
    #[serde(default)]
    pub local: bool,
    pub created: Timestamp,
    pub updated: Timestamp,
    /// The entities that it came from, by merging.
    #[serde(default)]
    pub merged_from: Vec<String>,
}

/// Who says who is in a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupKind {
    /// An administrator.
    #[default]
    Internal,
    /// The auth method of its alias, at each login.
    External,
}

impl GroupKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::External => "external",
        }
    }
}

/// A group of entities and of groups.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// A UUID; never given twice.
    pub id: String,
    /// As it was written; [`normal_name`] compares.
    pub name: String,
    #[serde(default)]
    pub kind: GroupKind,
    /// Normalised, sorted, never `root`.
    #[serde(default)]
    pub policies: Vec<String>,
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// The groups inside; each names this one among its parents.
    #[serde(default)]
    pub members: Vec<String>,
    /// The groups that this one is inside of. Its members have their policies too.
    #[serde(default)]
    pub parents: Vec<String>,
    /// Of an external group.
    #[serde(default)]
    pub alias: Option<Alias>,
    /// Counts its changes.
    #[serde(default)]
    pub modify_index: u64,
    pub created: Timestamp,
    pub updated: Timestamp,
}

impl Record for Group {
    const FORMAT: u8 = 1;
}

/// What an index holds: the id of what it leads to.
#[derive(Debug, Serialize, Deserialize)]
pub struct Pointer {
    pub id: String,
}

impl Record for Pointer {
    const FORMAT: u8 = 1;
}

/// A name as names are compared and found: without regard to case. The one place that says so, for entities, groups and
/// aliases alike; an auth method that knows user names by other rules applies them before it names an alias.
pub fn normal_name(name: &str) -> String {
    name.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_by_more_than_case() {
        assert_eq!(normal_name("BoB"), normal_name("bob"));
        assert_eq!(normal_name("ÄRA"), normal_name("ära"));
        for other in [" bob", "bob ", "b0b", "bob/"] {
            assert_ne!(normal_name(other), normal_name("bob"), "{other:?}");
        }
    }
}
