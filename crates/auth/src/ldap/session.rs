//! Finding a person and their groups, and proving their password.

use super::Ldap;
use super::config::Config;
use super::names::{UserName, common_name, escape_dn, normal, sid};
use coffer_engine::Ctx;
use coffer_engine::outside::{DirectorySession, Entry, Fault, FaultKind, Filter, Scope, Search};
use coffer_types::{Error, Result, Secret};
use std::collections::BTreeSet;

/// Most groups that one person may be in.
const MAX_GROUPS: usize = 10_000;

/// A person that the directory knows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Person {
    /// The name of their entry.
    pub(super) dn: String,
    /// What their alias is called, normal.
    pub(super) alias: String,
    /// Their groups, normal and sorted.
    pub(super) groups: Vec<String>,
}

/// A connection with the mount's settings.
pub(super) struct Session(Box<dyn DirectorySession>);

/// Connects to the first directory that can be reached.
pub(super) async fn connect(cx: &Ctx<Ldap>, config: &Config) -> Result<Session> {
    let mut last = None;
    for server in config.servers()? {
        match cx.outside().directory().connect(&server).await {
            Ok(session) => return Ok(Session(session)),
            Err(fault) if fault.kind == FaultKind::Unreachable => last = Some(fault),
            Err(fault) => return Err(fault.into()),
        }
    }
    Err(last.map_or_else(|| Error::bad_request("no url is configured"), Into::into))
}

impl Session {
    /// Proves a person's password and finds who they are. `None` where it does not hold or there is no such person: the
    /// questions asked are the same.
    pub(super) async fn prove(
        &mut self,
        config: &Config,
        next: &[Secret<String>],
        name: &UserName,
        password: &Secret<String>,
        decoy: &str,
    ) -> Result<Option<Person>> {
        // An empty password would be an anonymous bind, and succeed (RFC 4513 section 5.1.2).
        if password.expose().is_empty() {
            return Ok(None);
        }
        let mut entry = None;
        let dn = if config.looks_people_up() {
            self.become_searcher(config, next).await?;
            entry = self.find(config, name).await?;
            // Nobody: the password is tried all the same, on a name that no one has.
            entry.as_ref().map_or_else(|| format!("{}={decoy},{}", config.userattr, config.userdn), |e| e.dn.clone())
        } else if config.upndomain.is_empty() {
            format!("{}={},{}", config.userattr, escape_dn(name.as_str()), config.userdn)
        } else {
            format!("{}@{}", name.as_str(), config.upndomain)
        };
        match self.0.bind(&dn, password).await {
            Ok(()) => {}
            Err(fault) if fault.kind == FaultKind::Credentials => return Ok(None),
            Err(fault) => return Err(fault.into()),
        }
        if config.looks_people_up() && entry.is_none() {
            return Ok(None);
        }
        let (dn, entry) = match entry {
            Some(entry) => (entry.dn.clone(), Some(entry)),
            None if config.upndomain.is_empty() => {
                let entry = self.read(config, &dn).await?;
                (dn, entry)
            }
            // Bound by a name that is none of an entry.
            None => match self.find(config, name).await? {
                Some(entry) => (entry.dn.clone(), Some(entry)),
                None => {
                    return Err(Error::bad_request("ldap operation failed: the entry of the user is not to be found in userdn"));
                }
            },
        };
        self.describe(config, next, name, dn, entry).await.map(Some)
    }

    /// Finds a person without their password. `None` where they are gone.
    pub(super) async fn look_up(&mut self, config: &Config, next: &[Secret<String>], name: &UserName) -> Result<Option<Person>> {
        if !config.looks_people_up() {
            return Ok(None);
        }
        self.become_searcher(config, next).await?;
        match self.find(config, name).await? {
            Some(entry) => self.describe(config, next, name, entry.dn.clone(), Some(entry)).await.map(Some),
            None => Ok(None),
        }
    }

    /// Binds with the mount's own account; what unfinished rotations may have set is tried too.
    pub(super) async fn bind_as_searcher(&mut self, config: &Config, next: &[Secret<String>]) -> Result<()> {
        let known = Secret::from(config.bindpass.as_str());
        let mut result = self.0.bind(&config.binddn, &known).await;
        for next in next {
            match result {
                Err(fault) if fault.kind == FaultKind::Credentials => result = self.0.bind(&config.binddn, next).await,
                _ => break,
            }
        }
        result.map_err(|fault| match fault.kind {
            FaultKind::Credentials => Fault::new(FaultKind::Refused, "the directory does not take binddn and bindpass").into(),
            _ => fault.into(),
        })
    }

    pub(super) async fn replace_password(&mut self, dn: &str, new: &Secret<String>) -> Result<()> {
        Ok(self.0.replace_password(dn, new).await?)
    }

    async fn become_searcher(&mut self, config: &Config, next: &[Secret<String>]) -> Result<()> {
        if config.has_searcher() { self.bind_as_searcher(config, next).await } else { Ok(self.0.bind_anonymously().await?) }
    }

    /// The one entry that the user filter finds; of several none is the person.
    async fn find(&mut self, config: &Config, name: &UserName) -> Result<Option<Entry>> {
        let template = config.user_filter()?;
        let filter = if config.upndomain.is_empty() {
            template.fill(&[(".Username", name.as_str())])
        } else {
            let whole = format!("{}@{}", name.as_str(), config.upndomain);
            let filter = template.fill(&[(".Username", &whole)]);
            if config.enable_samaccountname_login {
                Filter::Or(vec![filter, Filter::Equal("sAMAccountName".into(), name.as_str().into())])
            } else {
                filter
            }
        };
        let attributes = vec![config.userattr.clone()];
        let mut found = self.search(config, &config.userdn, Scope::Subtree, filter, attributes, 10).await?;
        let entry = found.pop().filter(|entry| found.is_empty() && !entry.dn.is_empty());
        Ok(entry)
    }

    async fn read(&mut self, config: &Config, dn: &str) -> Result<Option<Entry>> {
        let anything = Filter::Present("objectClass".into());
        Ok(self.search(config, dn, Scope::Base, anything, vec![config.userattr.clone()], 1).await?.pop())
    }

    async fn describe(
        &mut self,
        config: &Config,
        next: &[Secret<String>],
        name: &UserName,
        dn: String,
        entry: Option<Entry>,
    ) -> Result<Person> {
        let alias = match (&entry, config.username_as_alias) {
            (Some(entry), false) => {
                let mut values = entry.texts(&config.userattr);
                match (values.next(), values.next()) {
                    (Some(value), None) => value.to_owned(),
                    // One person by one name: which of several would be chance.
                    _ => {
                        return Err(Error::bad_request(
                            "ldap operation failed: the user's entry needs one value of userattr, set username_as_alias otherwise",
                        ));
                    }
                }
            }
            _ => name.as_str().to_owned(),
        };
        if config.anonymous_group_search {
            self.0.bind_anonymously().await?;
        } else if config.has_searcher() {
            self.bind_as_searcher(config, next).await?;
        }
        let groups =
            if config.use_token_groups { self.token_groups(config, &dn).await? } else { self.groups(config, name, &dn).await? };
        let groups: BTreeSet<String> = groups.iter().map(|group| normal(group, config.case_sensitive_names)).collect();
        Ok(Person { dn, alias: normal(&alias, config.case_sensitive_names), groups: groups.into_iter().collect() })
    }

    async fn groups(&mut self, config: &Config, name: &UserName, dn: &str) -> Result<Vec<String>> {
        if config.groupdn.is_empty() || config.groupfilter.is_empty() {
            return Ok(Vec::new());
        }
        let filter = config.group_filter()?.fill(&[(".Username", name.as_str()), (".UserDN", dn)]);
        let attributes = vec![config.groupattr.clone()];
        let found = self.search(config, &config.groupdn, Scope::Subtree, filter, attributes, MAX_GROUPS).await?;
        Ok(found.iter().flat_map(|entry| group_names(config, entry)).collect())
    }

    /// The groups that Active Directory has counted together, by their identifiers.
    async fn token_groups(&mut self, config: &Config, dn: &str) -> Result<Vec<String>> {
        let anything = || Filter::Present("objectClass".into());
        let found = self.search(config, dn, Scope::Base, anything(), vec!["tokenGroups".into()], 1).await?;
        let ids: Vec<String> = found.iter().flat_map(|entry| entry.values("tokenGroups")).filter_map(sid).collect();
        if ids.len() > MAX_GROUPS {
            return Err(Error::bad_request("ldap operation failed: the user is in too many groups"));
        }
        let mut names = Vec::new();
        for id in ids {
            let base = format!("<SID={id}>");
            let found = self.search(config, &base, Scope::Base, anything(), vec![config.groupattr.clone()], 1).await?;
            names.extend(found.iter().flat_map(|entry| group_names(config, entry)));
        }
        Ok(names)
    }

    async fn search(
        &mut self,
        config: &Config,
        base: &str,
        scope: Scope,
        filter: Filter,
        attributes: Vec<String>,
        limit: usize,
    ) -> Result<Vec<Entry>> {
        let page = u32::try_from(config.max_page_size.max(0)).unwrap_or(u32::MAX);
        let search = Search { base: base.to_owned(), scope, aliases: config.aliases()?, filter, attributes, limit, page };
        Ok(self.0.search(&search).await?)
    }
}

/// What a found entry says of groups: it is one, named by the attribute or by its own name, or it is the person's and the
/// attribute holds the names of their groups' entries.
fn group_names(config: &Config, entry: &Entry) -> Vec<String> {
    let mut names: Vec<String> = entry.texts(&config.groupattr).map(str::to_owned).collect();
    if names.is_empty() {
        names = vec![entry.dn.clone()];
    } else if config.groupattr.eq_ignore_ascii_case("cn") {
        // A name, whatever it looks like: a group that is called "cn=admins" is not "admins".
        return names;
    }
    names.into_iter().map(|name| common_name(&name).unwrap_or(name)).collect()
}
