//! Records of identity with the indexes that lead to them. Each function works in its caller's transaction; whoever changes
//! a record changes its indexes here, in the same commit.

use super::record::{
    ALIAS_IDS, ALIASES, Alias, ENTITIES, ENTITY_NAMES, Entity, GROUP_ALIAS_IDS, GROUP_ALIASES, GROUP_NAMES, GROUPS, Group,
    MEMBERS, MERGED, Pointer, normal_name,
};
use coffer_crypto::kdf::derive_key;
use coffer_crypto::mac::HmacKey;
use coffer_crypto::random::{Random, uuid};
use coffer_engine::view::View;
use coffer_types::{Error, Result};
use std::collections::BTreeSet;

/// Longer names than this are refused: nobody has one, and each stands in several records.
pub const MAX_NAME: usize = 1024;

/// Finds and keeps entities, groups and aliases. Its key hides names from whoever reads the keys of the store.
pub struct IdentityStore {
    tags: HmacKey,
}

impl IdentityStore {
    /// `secret` is one of the server's own keys; the tags come from a key derived from it for this alone.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self { tags: HmacKey::new(&*derive_key(secret, "coffer/identity-names/v1")) }
    }

    /// The store's name for a name, in one index.
    fn tagged(&self, index: &str, accessor: &str, name: &str) -> String {
        // Accessors are the server's own texts, without a NUL.
        let tag = self.tags.tag_parts(&[index.as_bytes(), accessor.as_bytes(), b"\0", normal_name(name).as_bytes()]);
        format!("{index}{}", hex::encode(tag))
    }

    // ---- entities

    pub async fn entity(&self, view: &View, id: &str) -> Result<Option<Entity>> {
        if id.is_empty() {
            return Ok(None);
        }
        view.get(&format!("{ENTITIES}{id}")).await
    }

    /// The entity that an id stands for: itself, or the one that it was merged into.
    pub async fn entity_or_heir(&self, view: &View, id: &str) -> Result<Option<Entity>> {
        if id.is_empty() {
            return Ok(None);
        }
        if let Some(entity) = self.entity(view, id).await? {
            return Ok(Some(entity));
        }
        match view.get::<Pointer>(&format!("{MERGED}{id}")).await? {
            Some(heir) => self.entity(view, &heir.id).await,
            None => Ok(None),
        }
    }

    pub async fn entity_by_name(&self, view: &View, name: &str) -> Result<Option<Entity>> {
        self.follow_entity(view, &self.tagged(ENTITY_NAMES, "", name)).await
    }

    /// By the accessor of a mount and the name that it knows the entity by.
    pub async fn entity_by_alias(&self, view: &View, accessor: &str, name: &str) -> Result<Option<Entity>> {
        self.follow_entity(view, &self.tagged(ALIASES, accessor, name)).await
    }

    pub async fn entity_by_alias_id(&self, view: &View, id: &str) -> Result<Option<Entity>> {
        let found = self.follow_entity(view, &format!("{ALIAS_IDS}{id}")).await?;
        Ok(found.filter(|e| e.alias_by_id(id).is_some()))
    }

    async fn follow_entity(&self, view: &View, key: &str) -> Result<Option<Entity>> {
        match view.get::<Pointer>(key).await? {
            Some(pointer) => self.entity(view, &pointer.id).await,
            None => Ok(None),
        }
    }

    /// Stores an entity: `was` is what stands there, `None` for a new one.
    ///
    /// # Errors
    /// A name that is another's, or too long; two aliases of one mount.
    pub async fn put_entity(&self, view: &View, was: Option<&Entity>, is: &Entity) -> Result<()> {
        check_name(&is.name)?;
        let pointer = Pointer { id: is.id.clone() };
        let name = self.tagged(ENTITY_NAMES, "", &is.name);
        let old_name = was.map(|w| self.tagged(ENTITY_NAMES, "", &w.name));
        if old_name.as_ref() != Some(&name) {
            if self.follow_entity(view, &name).await?.is_some_and(|other| other.id != is.id) {
                return Err(Error::bad_request("entity name is already in use"));
            }
            if let Some(old) = old_name {
                view.delete(&old);
            }
            view.put(&name, &pointer)?;
        }
        let none = Vec::new();
        let old = was.map_or(&none, |w| &w.aliases);
        // First what goes, then what comes: a name may pass from one alias to another.
        for alias in old {
            let stays = is.aliases.iter().any(|a| a.id == alias.id);
            if !stays {
                view.delete(&format!("{ALIAS_IDS}{}", alias.id));
            }
            if !is.aliases.iter().any(|a| same_factors(a, alias)) {
                view.delete(&self.tagged(ALIASES, &alias.mount_accessor, &alias.name));
            }
        }
        for alias in &is.aliases {
            check_name(&alias.name)?;
            if is.aliases.iter().filter(|a| a.mount_accessor == alias.mount_accessor).count() > 1 {
                return Err(Error::bad_request("Alias already exists for requested entity and mount accessor"));
            }
            if !old.iter().any(|a| same_factors(a, alias)) {
                let key = self.tagged(ALIASES, &alias.mount_accessor, &alias.name);
                if self.follow_entity(view, &key).await?.is_some_and(|other| other.id != is.id) {
                    return Err(Error::bad_request("combination of mount and alias name is already in use"));
                }
                view.put(&key, &pointer)?;
            }
            if !old.iter().any(|a| a.id == alias.id) {
                view.put(&format!("{ALIAS_IDS}{}", alias.id), &pointer)?;
            }
        }
        let old: BTreeSet<&str> = was.map(|w| w.groups.iter().map(|m| m.group.as_str()).collect()).unwrap_or_default();
        let new: BTreeSet<&str> = is.groups.iter().map(|m| m.group.as_str()).collect();
        for group in old.difference(&new) {
            view.delete(&format!("{MEMBERS}{group}/{}", is.id));
        }
        for group in new.difference(&old) {
            view.put(&format!("{MEMBERS}{group}/{}", is.id), &pointer)?;
        }
        view.put(&format!("{ENTITIES}{}", is.id), is)
    }

    /// Removes an entity and all that leads to it. Tokens that name it are good for nothing from then on.
    pub fn delete_entity(&self, view: &View, entity: &Entity) {
        view.delete(&self.tagged(ENTITY_NAMES, "", &entity.name));
        for alias in &entity.aliases {
            view.delete(&self.tagged(ALIASES, &alias.mount_accessor, &alias.name));
            view.delete(&format!("{ALIAS_IDS}{}", alias.id));
        }
        for membership in &entity.groups {
            view.delete(&format!("{MEMBERS}{}/{}", membership.group, entity.id));
        }
        for merged in &entity.merged {
            view.delete(&format!("{MERGED}{merged}"));
        }
        view.delete(&format!("{ENTITIES}{}", entity.id));
    }

    /// From now on `from` stands for `heir`.
    pub fn put_merged(&self, view: &View, from: &str, heir: &Entity) -> Result<()> {
        view.put(&format!("{MERGED}{from}"), &Pointer { id: heir.id.clone() })
    }

    /// All entities after `after`, by id, `limit` at most.
    pub async fn entities(&self, view: &View, after: Option<&str>, limit: usize) -> Result<Vec<Entity>> {
        let mut found = Vec::new();
        for id in view.children(ENTITIES, after, limit).await? {
            found.extend(self.entity(view, &id).await?);
        }
        Ok(found)
    }

    /// A name that no entity has: `entity_` and 8 hexadecimal digits.
    pub async fn new_entity_name(&self, view: &View, random: &dyn Random) -> Result<String> {
        loop {
            let name = format!("entity_{}", &uuid(random)[..8]);
            if self.entity_by_name(view, &name).await?.is_none() {
                return Ok(name);
            }
        }
    }

    // ---- groups

    pub async fn group(&self, view: &View, id: &str) -> Result<Option<Group>> {
        if id.is_empty() {
            return Ok(None);
        }
        view.get(&format!("{GROUPS}{id}")).await
    }

    pub async fn group_by_name(&self, view: &View, name: &str) -> Result<Option<Group>> {
        self.follow_group(view, &self.tagged(GROUP_NAMES, "", name)).await
    }

    pub async fn group_by_alias(&self, view: &View, accessor: &str, name: &str) -> Result<Option<Group>> {
        self.follow_group(view, &self.tagged(GROUP_ALIASES, accessor, name)).await
    }

    pub async fn group_by_alias_id(&self, view: &View, id: &str) -> Result<Option<Group>> {
        let found = self.follow_group(view, &format!("{GROUP_ALIAS_IDS}{id}")).await?;
        Ok(found.filter(|g| g.alias.as_ref().is_some_and(|a| a.id == id)))
    }

    async fn follow_group(&self, view: &View, key: &str) -> Result<Option<Group>> {
        match view.get::<Pointer>(key).await? {
            Some(pointer) => self.group(view, &pointer.id).await,
            None => Ok(None),
        }
    }

    /// Stores a group: `was` is what stands there, `None` for a new one.
    ///
    /// # Errors
    /// A name or an alias that is another's, or too long.
    pub async fn put_group(&self, view: &View, was: Option<&Group>, is: &Group) -> Result<()> {
        check_name(&is.name)?;
        let pointer = Pointer { id: is.id.clone() };
        let name = self.tagged(GROUP_NAMES, "", &is.name);
        let old_name = was.map(|w| self.tagged(GROUP_NAMES, "", &w.name));
        if old_name.as_ref() != Some(&name) {
            if self.follow_group(view, &name).await?.is_some_and(|other| other.id != is.id) {
                return Err(Error::bad_request("group name is already in use"));
            }
            if let Some(old) = old_name {
                view.delete(&old);
            }
            view.put(&name, &pointer)?;
        }
        let old = was.and_then(|w| w.alias.as_ref());
        let new = is.alias.as_ref();
        let factors = |alias: &Alias| self.tagged(GROUP_ALIASES, &alias.mount_accessor, &alias.name);
        if old.map(factors) != new.map(factors) {
            if let Some(alias) = old {
                view.delete(&factors(alias));
            }
            if let Some(alias) = new {
                check_name(&alias.name)?;
                if self.follow_group(view, &factors(alias)).await?.is_some_and(|other| other.id != is.id) {
                    return Err(Error::bad_request("combination of mount and group alias name is already in use"));
                }
                view.put(&factors(alias), &pointer)?;
            }
        }
        if old.map(|a| &a.id) != new.map(|a| &a.id) {
            if let Some(alias) = old {
                view.delete(&format!("{GROUP_ALIAS_IDS}{}", alias.id));
            }
            if let Some(alias) = new {
                view.put(&format!("{GROUP_ALIAS_IDS}{}", alias.id), &pointer)?;
            }
        }
        view.put(&format!("{GROUPS}{}", is.id), is)
    }

    /// Removes a group, from its parents, its members and whatever leads to it.
    pub async fn delete_group(&self, view: &View, group: &Group) -> Result<()> {
        for id in self.members(view, &group.id).await? {
            self.leave(view, &id, &group.id).await?;
        }
        for parent in &group.parents {
            if let Some(mut parent) = self.group(view, parent).await? {
                parent.members.retain(|m| *m != group.id);
                parent.modify_index += 1;
                view.put(&format!("{GROUPS}{}", parent.id), &parent)?;
            }
        }
        for member in &group.members {
            if let Some(mut member) = self.group(view, member).await? {
                member.parents.retain(|p| *p != group.id);
                member.modify_index += 1;
                view.put(&format!("{GROUPS}{}", member.id), &member)?;
            }
        }
        view.delete(&self.tagged(GROUP_NAMES, "", &group.name));
        if let Some(alias) = &group.alias {
            view.delete(&self.tagged(GROUP_ALIASES, &alias.mount_accessor, &alias.name));
            view.delete(&format!("{GROUP_ALIAS_IDS}{}", alias.id));
        }
        view.delete(&format!("{GROUPS}{}", group.id));
        Ok(())
    }

    /// An entity leaves a group.
    pub async fn leave(&self, view: &View, entity: &str, group: &str) -> Result<()> {
        view.delete(&format!("{MEMBERS}{group}/{entity}"));
        if let Some(mut entity) = self.entity(view, entity).await?.filter(|e| e.is_member(group)) {
            entity.groups.retain(|m| m.group != group);
            view.put(&format!("{ENTITIES}{}", entity.id), &entity)?;
        }
        Ok(())
    }

    /// The ids of a group's direct members.
    pub async fn members(&self, view: &View, group: &str) -> Result<Vec<String>> {
        view.children(&format!("{MEMBERS}{group}/"), None, usize::MAX).await
    }

    /// All groups after `after`, by id, `limit` at most.
    pub async fn groups(&self, view: &View, after: Option<&str>, limit: usize) -> Result<Vec<Group>> {
        let mut found = Vec::new();
        for id in view.children(GROUPS, after, limit).await? {
            found.extend(self.group(view, &id).await?);
        }
        Ok(found)
    }

    /// A name that no group has: `group_` and 8 hexadecimal digits.
    pub async fn new_group_name(&self, view: &View, random: &dyn Random) -> Result<String> {
        loop {
            let name = format!("group_{}", &uuid(random)[..8]);
            if self.group_by_name(view, &name).await?.is_none() {
                return Ok(name);
            }
        }
    }

    /// The groups that an entity is in: the direct ones first, then those that these are inside of, each once.
    pub async fn groups_of(&self, view: &View, entity: &Entity) -> Result<Vec<Group>> {
        let mut found: Vec<Group> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut wave: Vec<String> = entity.groups.iter().map(|m| m.group.clone()).collect();
        while !wave.is_empty() {
            let mut next = Vec::new();
            for id in wave {
                if seen.insert(id.clone())
                    && let Some(group) = self.group(view, &id).await?
                {
                    next.extend(group.parents.iter().cloned());
                    found.push(group);
                }
            }
            wave = next;
        }
        Ok(found)
    }
}

/// Both lead to one index entry.
fn same_factors(a: &Alias, b: &Alias) -> bool {
    a.mount_accessor == b.mount_accessor && normal_name(&a.name) == normal_name(&b.name)
}

fn check_name(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::bad_request("a name must not be empty"));
    }
    if name.len() > MAX_NAME {
        return Err(Error::bad_request(format!("a name has at most {MAX_NAME} bytes")));
    }
    Ok(())
}
