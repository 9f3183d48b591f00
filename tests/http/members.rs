//! Members: a cluster of three over HTTP: any member answers, and administrators change who belongs to it.

use concord_kv::{ClusterConfig, Config};
use serde_json::{Value, json};

use crate::client::{Server, server, server_with};
use crate::until::until;

const COOKIE: &str = "a secret of this test";

fn member(name: &str, expect: usize, seeds: &[String]) -> Server {
    server_with(|config: &mut Config| {
        config.cluster = Some(ClusterConfig {
            listen: "127.0.0.1:0".to_owned(),
            name: Some(name.to_owned()),
            seeds: seeds.to_vec(),
            bootstrap_expect: expect,
            cookie: COOKIE.into(),
            promote: name != "learner",
            ..ClusterConfig::default()
        });
    })
}

fn cluster_address(server: &Server) -> String {
    server.db.status().expect("a status").raft.address
}

fn members(server: &Server) -> Vec<Value> {
    server.get("/api/v1/members").data().as_array().expect("members").clone()
}

fn id_of(server: &Server) -> String {
    server.get("/api/v1/status").data()["node"].as_str().expect("an id").to_owned()
}

#[test]
fn any_member_of_three_answers() {
    let first = member("north", 1, &[]);
    first.db.cluster().wait_ready(20_000).expect("a cluster of one");
    let seeds = [cluster_address(&first)];
    let others = [member("east", 0, &seeds), member("west", 0, &seeds)];
    let servers: Vec<&Server> = [&first].into_iter().chain(&others).collect();
    let voters = |server: &Server| members(server).iter().filter(|member| member["role"] == "voter").count();
    servers.iter().for_each(|server| until("three voters", || (voters(server) == 3).then_some(())));

    for (at, server) in servers.iter().enumerate() {
        until("it is ready", || (server.get("/ready").status == 200).then_some(()));
        assert_eq!(server.put(&format!("/api/v1/kv/k{at}"), &format!(r#"{{"value":{at}}}"#)).status, 200);
        for other in &servers {
            for level in ["leader", "strong"] {
                assert_eq!(other.get(&format!("/api/v1/kv/k{at}?consistency={level}")).data(), json!(at));
                let list = other.get(&format!("/api/v1/kv?prefix=k{at}&consistency={level}")).data();
                assert_eq!(list["items"].as_array().map(Vec::len), Some(1));
            }
        }
    }
    let status = servers[1].get("/api/v1/status").data();
    assert_eq!(status["cluster"]["members"].as_array().map(Vec::len), Some(3));
    assert_eq!(status["cluster"]["ready"], json!(true));

    let to = id_of(servers[2]);
    servers[1].post("/api/v1/leader", &json!({"to": to}).to_string()).data();
    until("it leads", || (servers[2].get("/api/v1/status").data()["cluster"]["state"] == "leader").then_some(()));
    // A new leader learns only in a moment who is how far.
    until("it hands over", || (servers[0].post("/api/v1/leader", "{}").status == 200).then_some(()));

    let gone = id_of(&others[0]);
    servers[2].delete(&format!("/api/v1/members/{gone}")).data();
    until("two are left", || (members(servers[2]).len() == 2).then_some(()));
    assert_eq!(servers[2].delete(&format!("/api/v1/members/{gone}")).code(), "NOT_FOUND");
}

#[test]
fn a_learner_is_taken_in_promoted_and_put_in_place_of_another() {
    let first = member("north", 1, &[]);
    first.db.cluster().wait_ready(20_000).expect("a cluster of one");
    let learner = member("learner", 0, &[]);
    let address = json!({"address": cluster_address(&learner)}).to_string();
    let node = first.post("/api/v1/members", &address).data()["node"].as_str().expect("an id").to_owned();
    learner.db.cluster().wait_ready(20_000).expect("it is a learner");
    assert_eq!(node, id_of(&learner));
    until("it is promoted", || {
        (first.post(&format!("/api/v1/members/{node}/promote"), "{}").status == 200).then_some(())
    });
    assert!(members(&first).iter().all(|member| member["role"] == "voter"));

    let next = member("learner", 0, &[]);
    let address = json!({"address": cluster_address(&next)}).to_string();
    let with = first.post("/api/v1/members", &address).data()["node"].clone();
    let replace = json!({"with": with}).to_string();
    until("it is replaced", || {
        (first.post(&format!("/api/v1/members/{node}/replace"), &replace).status == 200).then_some(())
    });
    assert!(members(&first).iter().any(|member| member["node"] == with && member["role"] == "voter"));
    assert!(members(&first).iter().all(|member| member["node"] != node.as_str()));
}

#[test]
fn changes_that_make_no_sense_are_refused() {
    let server = server();
    for (path, body, code) in [
        ("members", "{}", "INVALID_REQUEST"),
        ("members", r#"{"address":7}"#, "INVALID_REQUEST"),
        ("members/x/promote", "{}", "INVALID_REQUEST"),
        ("members/7/replace", r#"{"with":8}"#, "INVALID_REQUEST"),
        ("members/7/replace", "{}", "INVALID_REQUEST"),
        ("leader", r#"{"to":"x"}"#, "INVALID_REQUEST"),
        ("leader?timeout_ms=600001", "{}", "INVALID_REQUEST"),
    ] {
        let refused = server.post(&format!("/api/v1/{path}"), body);
        assert_eq!((refused.status, refused.code().as_str()), (400, code), "{path} {body}");
    }
    let own = id_of(&server);
    let last = server.delete(&format!("/api/v1/members/{own}"));
    assert!((400..500).contains(&last.status), "the last voter stays: {}", last.text());
}
