//! Accounts of MongoDB: its commands, out of the JSON that roles hold in place of statements.
//!
//! A name stands in a command as a JSON string, so nothing in it can be anything else.

use super::plugin::{Accounts, Failure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use coffer_engine::outside::{Fault, FaultKind, Line, Script};
use coffer_types::json::{Limits, parse};
use coffer_types::{Error, Json, Object, Result, Secret};

/// The template of accounts' names.
pub(super) const NAME: &str = r#"{{ printf "v-%s-%s-%s-%s" (.DisplayName | truncate 15) (.RoleName | truncate 15) (random 20) (unix_time) | replace "." "-" | truncate 100 }}"#;
/// Where accounts are that a role names no database for.
pub(super) const USUAL: &str = "admin";

/// What a role says of its accounts: `{"db": "admin", "roles": [{"role": "read", "db": "app"}, {"role": "readWrite"}]}`.
struct Statement {
    database: String,
    roles: Vec<Json>,
}

impl Statement {
    fn parse(statements: &[String]) -> Result<Self> {
        let Some(text) = statements.first() else { return Ok(Self { database: USUAL.to_owned(), roles: Vec::new() }) };
        let bad =
            |why: &str| Error::bad_request(format!("a statement of MongoDB must be a JSON object with db and roles: {why}"));
        let json = parse(text.as_bytes(), &Limits::NONE).map_err(|fault| bad(&fault.to_string()))?;
        let object = json.as_object().ok_or_else(|| bad("it is none"))?;
        let database = match object.get("db") {
            None | Some(Json::Null) => "",
            Some(value) => value.as_str().ok_or_else(|| bad("db is no text"))?,
        };
        let mut roles = Vec::new();
        for role in object.get("roles").and_then(Json::as_array).unwrap_or_default() {
            let (name, of) = match role {
                Json::String(name) => (Some(name.as_str()), None),
                other => (other.get("role").and_then(Json::as_str), other.get("db").and_then(Json::as_str)),
            };
            let name = name.filter(|name| !name.is_empty()).ok_or_else(|| bad("a role has no name"))?;
            roles.push(match of.filter(|of| !of.is_empty()) {
                Some(of) => Json::Object(Object::new().with("role", name).with("db", of)),
                None => Json::string(name),
            });
        }
        Ok(Self { database: if database.is_empty() { USUAL } else { database }.to_owned(), roles })
    }
}

/// The database that a role's accounts are in.
pub(super) fn place(statements: &[String]) -> Result<String> {
    Statement::parse(statements).map(|statement| statement.database)
}

/// `write_concern` as commands take it: `{"wmode": "majority", "w": 1, "wtimeout": 500, "j": true}`, in base64 or not.
pub(super) fn concern(text: &str) -> Result<Object> {
    let bad = || Error::bad_request("error unmarshalling write_concern: it must be a JSON object, in base64 or not");
    let decoded = BASE64_STANDARD.decode(text.trim()).unwrap_or_else(|_| text.as_bytes().to_vec());
    let given = parse(&decoded, &Limits::NONE).ok().and_then(Json::into_object).ok_or_else(bad)?;
    let mut out = Object::new();
    for (name, value) in given.iter() {
        match (name.to_ascii_lowercase().as_str(), value) {
            ("wmode", Json::String(mode)) if !mode.as_str().is_empty() => {
                out.insert("w", value.clone());
            }
            ("w", Json::Number(_)) if !out.contains("w") && value.as_i64() != Some(0) => {
                out.insert("w", value.clone());
            }
            ("wtimeout", Json::Number(_)) => {
                out.insert("wtimeout", value.clone());
            }
            ("j" | "fsync", Json::Bool(true)) => {
                out.insert("j", true);
            }
            ("wmode", Json::String(_)) | ("w", Json::Number(_)) | ("j" | "fsync", Json::Bool(_)) | (_, Json::Null) => {}
            _ => return Err(bad()),
        }
    }
    Ok(out)
}

impl Accounts<'_> {
    pub(super) async fn create_in_mongodb(
        &self,
        statements: &[String],
        user: &str,
        password: &Secret<String>,
    ) -> Result<(), (Failure, bool)> {
        let statement = Statement::parse(statements).map_err(|why| (Failure::Template(why), false))?;
        if statement.roles.is_empty() {
            return Err((Failure::Template(Error::bad_request("roles array is required in creation statement")), false));
        }
        let command = Object::new()
            .with("createUser", user)
            .with("pwd", password.expose().as_str())
            .with("roles", Json::Array(statement.roles));
        self.say_to(&statement.database, command).await.map(|_| ()).map_err(|why| {
            let maybe = !why.is_refusal();
            (Failure::Database(why), maybe)
        })
    }

    /// The connection's own account is in `admin`, those of static roles where the address says.
    pub(super) async fn change_in_mongodb(&self, user: &str, password: &Secret<String>) -> Result<(), Failure> {
        let database = if user == self.target.user { USUAL } else { &self.manner.home };
        let command = Object::new().with("updateUser", user).with("pwd", password.expose().as_str());
        self.say_to(database, command).await?;
        Ok(())
    }

    pub(super) async fn remove_from_mongodb(&self, statements: &[String], user: &str) -> Result<(), Failure> {
        match self.say_to(&place(statements)?, Object::new().with("dropUser", user)).await {
            Err(fault) if fault.kind != FaultKind::Absent => Err(fault.into()),
            _ => Ok(()),
        }
    }

    pub(super) async fn is_in_mongodb(&self, user: &str, database: &str) -> Result<bool, Fault> {
        let command = Object::new().with("usersInfo", user);
        let rows = self.say(said(database, &command)).await?;
        Ok(rows.first().is_some_and(|rows| !rows.is_empty()))
    }

    async fn say_to(&self, database: &str, mut command: Object) -> Result<(), Fault> {
        if let Some(concern) = self.manner.write_concern.as_ref().filter(|concern| !concern.is_empty()) {
            command.insert("writeConcern", Json::Object(concern.clone()));
        }
        self.say(said(database, &command)).await.map(|_| ())
    }
}

fn said(database: &str, command: &Object) -> Script {
    let text = Json::Object(command.clone()).to_bytes();
    let words = vec![Secret::from(database), Secret::new(String::from_utf8_lossy(&text).into_owned())];
    Script { atomic: true, lines: vec![Line::Command(words)] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: Json) -> String {
        String::from_utf8_lossy(&json.to_bytes()).into_owned()
    }

    #[test]
    fn statements() {
        let read = |s: &str| Statement::parse(&[s.to_owned()]);
        let s = read(r#"{ "db": "app", "roles": [{ "role": "readWrite" }, {"role": "read", "db": "foo"}, "own"] }"#).unwrap();
        assert_eq!(
            (s.database.as_str(), text(Json::Array(s.roles))),
            ("app", r#"["readWrite",{"role":"read","db":"foo"},"own"]"#.into())
        );
        assert_eq!(read("{}").unwrap().database, "admin");
        assert_eq!(place(&[]).unwrap(), "admin");
        for bad in
            ["", "db.createUser({})", "[]", r#"{"db":1}"#, r#"{"roles":[{"db":"x"}]}"#, r#"{"roles":[""]}"#, r#"{"roles":[7]}"#]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn concerns() {
        let read = |text: &str| concern(text).map(|c| String::from_utf8_lossy(&Json::Object(c).to_bytes()).into_owned());
        assert_eq!(read(r#"{"wmode":"majority","wtimeout":5000}"#).unwrap(), r#"{"w":"majority","wtimeout":5000}"#);
        assert_eq!(read(r#"{"W":2,"J":true}"#).unwrap(), r#"{"w":2,"j":true}"#);
        assert_eq!(read(&BASE64_STANDARD.encode(r#"{"w":1}"#)).unwrap(), r#"{"w":1}"#);
        assert_eq!(read("{}").unwrap(), "{}");
        for bad in ["", "majority", "[]", r#"{"w":"2x","wtimeout":"5s"}"#, r#"{"bogus":1}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_stay_names() {
        let hostile = "a\", \"roles\": [\"root\"], \"x\": \"";
        let script = said("db", &Object::new().with("createUser", hostile));
        let [Line::Command(words)] = script.lines.as_slice() else { panic!("one command") };
        let json = parse(words[1].expose().as_bytes(), &Limits::NONE).unwrap();
        assert_eq!((json.as_object().unwrap().len(), json.get("createUser").unwrap().as_str()), (1, Some(hostile)));
    }
}
