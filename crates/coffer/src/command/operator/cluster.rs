//! `operator members`, `step-down`, `raft`: the nodes of a cluster.

use crate::cli::{Arity, Because, Call, Command, Failure, Outcome, Output, Run};
use crate::command::basic::read_at;
use crate::output::{self, go, json, table};
use coffer_client::Request;
use coffer_types::Json;
use coffer_types::json::Object;

pub(super) const COMMANDS: &[&Command] = &[&MEMBERS, &STEP_DOWN, &RAFT, &LIST_PEERS, &REMOVE_PEER];

static MEMBERS: Command = Command {
    path: "operator members",
    synopsis: "List the nodes of the cluster",
    args: "",
    about: "Lists the nodes that serve together, which of them is active and when each was last heard of.",
    examples: &[("List them:", "operator members")],
    own: &[],
    output: Output::Format,
    http: true,
    arity: Arity::Any,
    run: Run::Call(members),
};

fn members(call: &Call<'_>) -> Outcome {
    let found = call.ask_data(&Request::get("sys/ha-status")).because(|| "Error fetching HA status".into())?;
    let nodes = found.get("nodes").or_else(|| found.get("Nodes")).and_then(Json::as_array).unwrap_or_default().to_vec();
    output::value(call, &Json::Object(Object::new().with("Nodes", nodes.clone())), |_| {
        let rows = nodes.iter().map(|node| {
            let text = |name: &str| node.get(name).filter(|v| !v.is_null()).map(go::text).unwrap_or_default();
            ["hostname", "api_address", "cluster_address", "active_node", "version", "upgrade_version", "last_echo"]
                .map(text)
                .to_vec()
        });
        table::headed(
            ["Host Name", "API Address", "Cluster Address", "Active Node", "Version", "Upgrade Version", "Last Echo"],
            rows,
        )
    })
}

static STEP_DOWN: Command = Command {
    path: "operator step-down",
    synopsis: "Let another node take over",
    args: "",
    about: "The node at the address gives up being active. Another takes over; where there is none it comes back itself.",
    examples: &[("Before its maintenance:", "operator step-down")],
    own: &[],
    output: Output::None,
    http: true,
    arity: Arity::Exactly(0),
    run: Run::Call(|call| {
        call.send(&Request::put("sys/step-down").in_root_namespace()).because(|| "Error stepping down".into())?;
        call.line(&format!("Success! Stepped down: {}", call.client()?.config().address.base()));
        Ok(0)
    }),
};

static RAFT: Command = Command {
    path: "operator raft",
    synopsis: "See and change a raft cluster",
    args: "",
    about: "For servers that keep their data by raft. Coffer's own storage needs none of it.",
    examples: &[("List the nodes that vote:", "operator raft list-peers")],
    own: &[],
    output: Output::None,
    http: false,
    arity: Arity::Any,
    run: Run::Group,
};

static LIST_PEERS: Command = Command {
    path: "operator raft list-peers",
    synopsis: "List the nodes of a raft cluster",
    args: "",
    about: "Lists the nodes of a raft cluster. Exit code 2 where the server keeps its data otherwise.",
    examples: &[("List them:", "operator raft list-peers")],
    own: &[],
    output: Output::Format,
    http: true,
    arity: Arity::Exactly(0),
    run: Run::Call(list_peers),
};

fn list_peers(call: &Call<'_>) -> Outcome {
    let found = read_at(call, &Request::get("sys/storage/raft/configuration"))
        .because(|| "Error reading the raft cluster configuration".into())?;
    let Some(config) = found.as_ref().and_then(|f| f.get("config")) else {
        return Err(Failure::server("No raft cluster configuration found").hint("This server does not keep its data by raft."));
    };
    let servers = config.get("servers").and_then(Json::as_array).unwrap_or_default();
    output::value(
        call,
        &json::sorted(&Json::Object(Object::new().with("data", Object::new().with("config", config.clone())))),
        |_| {
            let rows = servers.iter().map(|server| {
                let text = |name: &str| server.get(name).map(go::text).unwrap_or_default();
                vec![
                    text("node_id"),
                    text("address"),
                    if text("leader") == "true" { "leader" } else { "follower" }.to_owned(),
                    text("voter"),
                ]
            });
            table::headed(["Node", "Address", "State", "Voter"], rows)
        },
    )
}

static REMOVE_PEER: Command = Command {
    path: "operator raft remove-peer",
    synopsis: "Remove a node from a raft cluster",
    args: "SERVER_ID",
    about: "Removes a node that is gone for good from a raft cluster.",
    examples: &[("Remove node3:", "operator raft remove-peer node3")],
    own: &[],
    output: Output::None,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(|call| {
        let body = Object::new().with("server_id", call.arg(0).trim());
        call.send(&Request::put("sys/storage/raft/remove-peer").json(body))
            .because(|| "Error removing the peer from raft cluster".into())?;
        call.line("Peer removed successfully!");
        Ok(0)
    }),
};
