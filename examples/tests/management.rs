//! The management socket of a running lwAFTR: every path, and what it refuses.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is a failed test"
)]

mod common;
#[path = "management/world.rs"]
mod world;

use hyper::Method;
use lw4o6_binding::Seq;
use lw4o6_examples::control::Stored;
use serde_json::{Value, json};
use testkit::yang::{Validation, validate};

use self::common::{AFTR, SOFTWIRES, TOML};
use self::world::{HeldStore, MANAGEMENT, World, counted};

const NEW: &str = r#"{
  "binding-ipv6info": "2001:db8:1::3",
  "binding-ipv4-addr": "192.0.2.1",
  "port-set": {"psid-offset": 6, "psid-len": 8, "psid": 54},
  "br-ipv6-addr": "2001:db8:ffff::1"
}"#;

fn refused(answer: (u16, Value), status: u16) -> (String, String, String) {
    let (is, value) = answer;
    assert_eq!(is, status, "{value}");
    let part = |name: &str| value["error"][name].as_str().unwrap().to_owned();
    (part("path"), part("rule"), part("message"))
}

#[test]
fn the_state_is_told_with_version_and_generation_of_the_table() {
    let world = World::new();
    let status = world.get("/status");
    assert_eq!(status["healthy"], true, "{status}");
    assert_eq!(status["instance"], "b");
    assert_eq!(status["table"]["softwires"], 2);
    assert_eq!(status["table"]["generation"], 1);
    let version = status["table"]["version"].as_u64().unwrap();
    assert_eq!(world.ask(Method::POST, "/softwires", NEW).0, 200);
    let status = world.get("/status");
    assert_eq!(status["table"]["version"], version + 1);
    assert_eq!(status["table"]["generation"], 1);
    assert_eq!(
        status["table"]["origins"],
        json!({"static": 2, "operator": 1})
    );
}

#[test]
fn softwires_are_added_and_removed_one_by_one_or_many() {
    let world = World::new();
    let (status, added) = world.ask(Method::POST, "/softwires", NEW);
    assert_eq!((status, &added["added"]), (200, &json!(1)), "{added}");
    assert_eq!(added["table"]["softwires"], 3);
    let many: Vec<Value> = (55..60)
        .map(|psid| {
            let mut entry: Value = serde_json::from_str(NEW).unwrap();
            entry["binding-ipv6info"] = json!(format!("2001:db8:{psid}::1"));
            entry["port-set"]["psid"] = json!(psid);
            entry
        })
        .collect();
    let body = json!({ "ietf-softwire-br:binding-entry": many }).to_string();
    let (status, added) = world.ask(Method::POST, "/softwires?origin=dhcp&lifetime=3600", &body);
    assert_eq!((status, &added["added"]), (200, &json!(5)), "{added}");
    let all = world.get("/softwires");
    assert_eq!(all["softwires"].as_array().unwrap().len(), 8);
    assert_eq!(all["softwires"][7]["origin"], "dhcp");
    assert!(all["softwires"][7]["expires"].is_string());
    let (status, removed) = world.ask(Method::DELETE, "/softwires/192.0.2.1/6,8,54", "");
    assert_eq!((status, &removed["removed"]), (200, &json!(1)));
    let (path, _, message) = refused(
        world.ask(Method::DELETE, "/softwires/192.0.2.1/6,8,54", ""),
        404,
    );
    assert_eq!(path, "192.0.2.1/6,8,54");
    assert!(message.ends_with("is not bound"), "{message}");
}

#[test]
fn softwires_come_in_pages() {
    let world = World::new();
    let first = world.get("/softwires?limit=1");
    assert_eq!(first["softwires"].as_array().unwrap().len(), 1);
    assert_eq!(first["next"], "192.0.2.1/6,8,52");
    let second = world.get("/softwires?limit=1&after=192.0.2.1/6,8,52");
    assert_eq!(second["softwires"][0]["psid"], 53);
    assert_eq!(second["next"], Value::Null);
    let of_b4 = world.get("/softwires?b4=2001:db8:1::2");
    assert_eq!(of_b4["softwires"][0]["psid"], 53);
    assert_eq!(of_b4["softwires"].as_array().unwrap().len(), 1);
    let none = world.get("/softwires?ipv4=192.0.2.2");
    assert_eq!(none["softwires"], json!([]));
}

#[test]
fn a_softwire_that_breaks_a_rule_is_refused_with_path_and_rule() {
    let world = World::new();
    let post = |body: &str| world.ask(Method::POST, "/softwires", body);
    let (path, rule, message) = refused(post(&NEW.replace("54", "53")), 409);
    assert_eq!(path, "binding-entry[1]");
    assert!(rule.contains("R-023"), "{rule}");
    assert!(message.contains("is bound to 2001:db8:1::2"), "{message}");
    let (path, rule, _) = refused(post(&NEW.replace("54", "\"x\"")), 400);
    assert_eq!(path, "binding-entry[1]/port-set/psid");
    assert_eq!(rule, "a number from 0 to 65535");
    let (path, _, message) = refused(post(&NEW.replace("psid-len", "psid-length")), 400);
    assert_eq!(path, "binding-entry[1]/port-set/psid-length");
    assert_eq!(message, "unknown key");
    let (path, rule, _) = refused(post("{\n  \"a\": }"), 400);
    assert_eq!(
        (path.as_str(), rule.as_str()),
        ("line 2 column 8", "RFC 8259")
    );
    let (path, rule, _) = refused(
        world.ask(Method::POST, "/softwires?origin=static", NEW),
        400,
    );
    assert_eq!(path, "origin");
    assert!(rule.starts_with("operator, dhcp, pcp"), "{rule}");
}

#[test]
fn of_a_list_all_are_added_or_none() {
    let world = World::new();
    let (status, other) = (
        NEW.to_owned(),
        NEW.replace("::3", "::4").replace("54", "53"),
    );
    let (path, _, _) = refused(
        world.ask(Method::POST, "/softwires", &format!("[{status},{other}]")),
        409,
    );
    assert_eq!(path, "binding-entry[2]");
    assert_eq!(world.get("/status")["table"]["softwires"], 2);
    // Nothing of the first one is left in the way.
    assert_eq!(world.ask(Method::POST, "/softwires", NEW).0, 200);
}

#[test]
fn a_list_without_softwires_is_refused() {
    let world = World::new();
    let (path, _, _) = refused(world.ask(Method::POST, "/softwires", "[]"), 400);
    assert_eq!(path, "binding-entry");
    let many = vec![NEW; 1025].join(",");
    let (_, _, message) = refused(
        world.ask(Method::POST, "/softwires", &format!("[{many}]")),
        400,
    );
    assert!(message.contains("same binding-ipv6info"), "{message}");
}

#[test]
fn a_softwire_gives_way_where_that_is_asked_for() {
    let world = World::new();
    let body = NEW.replace("54", "53");
    let (status, value) = world.ask(Method::POST, "/softwires?replace=true", &body);
    assert_eq!(status, 200, "{value}");
    let all = world.get("/softwires");
    assert_eq!(all["softwires"][1]["b4"], "2001:db8:1::3");
    let two = format!("[{NEW},{}]", NEW.replace("::3", "::4").replace("54", "55"));
    refused(
        world.ask(Method::POST, "/softwires?replace=true", &two),
        400,
    );
}

#[test]
fn a_change_is_answered_when_the_store_has_it() {
    let store = HeldStore::default();
    let toml = format!("{TOML}{MANAGEMENT}");
    let world = World::with(&toml, SOFTWIRES, Some(store.clone()));
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| world.ask(Method::POST, "/softwires", NEW));
        world.until("the store has it", || store.0.lock().unwrap().len() == 1);
        let seq = store.0.lock().unwrap()[0].0;
        assert_eq!(world.get("/status")["table"]["softwires"], 2);
        assert!(!asked.is_finished());
        world.stored(Stored::Persisted(seq));
        assert_eq!(asked.join().unwrap().0, 200);
        assert_eq!(world.get("/status")["table"]["softwires"], 3);
        // A second one is not stored.
        let asked = scope.spawn(|| {
            let body = NEW.replace("54", "55").replace("::3", "::4");
            world.ask(Method::POST, "/softwires", &body)
        });
        world.until("the store has it", || store.0.lock().unwrap().len() == 2);
        world.stored(Stored::Failed(Seq(seq.0 + 1), "no space left".to_owned()));
        let (_, rule, _) = refused(asked.join().unwrap(), 503);
        assert_eq!(rule, "what is not stored takes no effect");
        assert_eq!(world.get("/status")["table"]["softwires"], 3);
        let (status, health) = world.ask(Method::GET, "/health", "");
        assert_eq!(status, 503);
        assert_eq!(health["alarms"][0]["kind"], "store");
        assert_eq!(health["alarms"][0]["message"], "no space left");
    });
}

#[test]
fn knobs_are_set_while_packets_flow() {
    // R-266
    let world = World::new();
    let all = world.get("/knobs");
    assert_eq!(all["forwarding.hop-limit"], 64);
    let (status, set) = world.ask(Method::PUT, "/knobs/forwarding.hop-limit", "17");
    assert_eq!(status, 200);
    assert_eq!(
        set,
        json!({"knob": "forwarding.hop-limit", "was": 64, "is": 17})
    );
    assert_eq!(world.get("/knobs")["forwarding.hop-limit"], 17);
    let (path, _, message) = refused(world.ask(Method::PUT, "/knobs/hop-limit", "0"), 400);
    assert_eq!(path, "forwarding.hop-limit");
    assert_eq!(message, "0 would be dropped by the first router");
    assert_eq!(world.get("/knobs")["forwarding.hop-limit"], 17);
    let (path, _, message) = refused(world.ask(Method::PUT, "/knobs/contexts", "5"), 404);
    assert_eq!(path, "contexts");
    assert_eq!(
        message,
        "which one? reassembly.contexts, fragments.contexts"
    );
    let (_, _, message) = refused(world.ask(Method::PUT, "/knobs/df-policy", "\"maybe\""), 400);
    assert!(message.contains("unknown variant `maybe`"), "{message}");
    refused(world.ask(Method::PUT, "/knobs/nothing", "1"), 404);
    refused(world.ask(Method::PUT, "/knobs/slab-bytes", "1"), 409);
    refused(world.ask(Method::PUT, "/knobs/hop-limit", "{"), 400);
}

#[test]
fn every_knob_takes_the_value_that_it_has() {
    // R-266
    let world = World::new();
    let all = world.get("/knobs");
    for (knob, value) in all.as_object().unwrap() {
        let (status, answer) =
            world.ask(Method::PUT, &format!("/knobs/{knob}"), &value.to_string());
        let expected = if knob == "forwarding.slab-bytes" {
            409
        } else {
            200
        };
        assert_eq!(status, expected, "{knob}: {answer}");
    }
    for (knob, value) in [
        ("hairpin-mode", json!("drop")),
        ("icmpv6-rate", json!(5)),
        ("encap-limit", json!(4)),
        ("mss-clamp", json!("tunnel")),
        ("subscriber-prefixes", json!(["2001:db8::/32"])),
        ("fragments.handling", json!("off")),
        ("system-ports", json!("refuse")),
    ] {
        let (status, answer) =
            world.ask(Method::PUT, &format!("/knobs/{knob}"), &value.to_string());
        assert_eq!((status, &answer["is"]), (200, &value), "{knob}: {answer}");
    }
}

#[test]
fn a_reload_takes_what_changed_and_says_what_needs_a_restart() {
    let world = World::new();
    assert_eq!(world.ask(Method::POST, "/softwires", NEW).0, 200);
    let softwires = SOFTWIRES.replace("2001:db8:1::2", "2001:db8:1::9");
    world.folder.write("s.json", &softwires);
    let toml = TOML.replace("203.0.113.1", "203.0.113.2");
    world.folder.write(
        "c.toml",
        format!("{toml}\n[forwarding]\nhop-limit = 33\n{MANAGEMENT}"),
    );
    let (status, told) = world.ask(Method::POST, "/reload?diff=true", "");
    assert_eq!(status, 200, "{told}");
    assert_eq!(told["differences"]["changed"].as_array().unwrap().len(), 1);
    assert_eq!(
        told["needs-restart"][1],
        "+ internet.address = \"203.0.113.2\""
    );
    assert_eq!(
        world.get("/knobs")["forwarding.hop-limit"],
        64,
        "only asked"
    );
    let (status, told) = world.ask(Method::POST, "/reload", "");
    assert_eq!(status, 200, "{told}");
    assert_eq!(
        told["table"]["softwires"], 3,
        "the operator's softwire stays"
    );
    assert_eq!(told["table"]["generation"], 2);
    assert_eq!(world.get("/knobs")["forwarding.hop-limit"], 33);
    assert_eq!(
        world.get("/softwires?b4=2001:db8:1::9")["softwires"][0]["psid"],
        53
    );
    assert_eq!(world.get("/status")["reloads"], 1);
    // Once more: nothing changes, so the table is not touched.
    let (_, told) = world.ask(Method::POST, "/reload", "");
    assert_eq!(told["table"]["generation"], 2);
}

#[test]
fn a_reload_tells_that_a_softwire_taken_away_by_hand_comes_back() {
    let world = World::new();
    let (status, _) = world.ask(Method::DELETE, "/softwires/192.0.2.1/6,8,53", "");
    assert_eq!(status, 200);
    let (_, told) = world.ask(Method::POST, "/reload?diff=true", "");
    assert_eq!(told["differences"]["added"].as_array().unwrap().len(), 1);
    assert_eq!(told["differences"]["unchanged"], 1);
}

#[test]
fn a_wrong_configuration_is_refused_and_the_old_one_stays() {
    let world = World::new();
    world.folder.write(
        "c.toml",
        format!("{TOML}{MANAGEMENT}\n[forwarding]\nhop-limit = 0\n"),
    );
    let (path, rule, message) = refused(world.ask(Method::POST, "/reload", ""), 422);
    assert!(path.ends_with("c.toml:18"), "{path}");
    assert_eq!(rule, "lwaftr check");
    assert_eq!(
        message,
        "forwarding.hop-limit: 0 would be dropped by the first router"
    );
    world.folder.write("c.toml", format!("{TOML}{MANAGEMENT}"));
    world
        .folder
        .write("s.json", SOFTWIRES.replace("\"psid\": 53", "\"psid\": 52"));
    let (path, rule, _) = refused(world.ask(Method::POST, "/reload", ""), 409);
    assert!(path.ends_with("binding-entry[2]"), "{path}");
    assert!(rule.starts_with("R-023"), "{rule}");
    let health = world.ask(Method::GET, "/health", "").1;
    assert_eq!(health["alarms"][0]["kind"], "reload");
    assert_eq!(health["healthy"], true, "packets pass by the old one");
    assert_eq!(
        world.get("/softwires")["softwires"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    world.folder.write("s.json", SOFTWIRES);
    assert_eq!(world.ask(Method::POST, "/reload", "").0, 200);
    assert_eq!(world.get("/health")["alarms"], json!([]));
}

#[test]
fn sighup_reads_the_configuration_and_opens_the_log_again() {
    let world = World::new();
    world
        .folder
        .write("s.json", SOFTWIRES.replace("\"psid\": 53", "\"psid\": 60"));
    world
        .inputs
        .send(lw4o6_examples::control::Input::Reload)
        .unwrap();
    world.until("the new softwire", || world.get("/status")["reloads"] == 1);
    assert_eq!(*world.log.reopened.lock().unwrap(), 1);
    assert_eq!(world.get("/softwires")["softwires"][1]["psid"], 60);
    let lines = world.log.lines.lock().unwrap();
    let whole = lines.iter().filter(|line| line.contains("BulkReplaced"));
    assert_eq!(whole.count(), 2, "at the start, and now");
}

#[test]
fn the_whole_table_is_replaced_in_one_step() {
    let world = World::new();
    let table = format!("{{\"ietf-softwire-br:binding-table\": {{\"binding-entry\": [{NEW}]}}}}");
    let (status, told) = world.ask(Method::PUT, "/binding-table", &table);
    assert_eq!(status, 200, "{told}");
    assert_eq!(told["replaced"]["added"], 1);
    assert_eq!(told["replaced"]["removed"], 2);
    assert_eq!(told["table"]["generation"], 2);
    let (status, document) = world.ask(
        Method::GET,
        "/ietf-softwire-br:br-instances/binding/bind-instance=b/binding-table",
        "",
    );
    assert_eq!(status, 200);
    let (status, told) = world.ask(Method::PUT, "/binding-table", &document.to_string());
    assert_eq!(
        (status, &told["replaced"]["unchanged"]),
        (200, &json!(1)),
        "{told}"
    );
    let (path, _, _) = refused(
        world.ask(
            Method::PUT,
            "/binding-table",
            &table.replace("\"psid\": 54", "\"psid\": 256"),
        ),
        400,
    );
    assert_eq!(path, "binding-entry[1]/port-set");
}

#[test]
fn the_running_instance_is_valid_rfc_8676_data() {
    // R-262, R-263
    let counters = counted();
    let world = World::new();
    world.plane.0.lock().unwrap().counters = counters;
    let root = "/ietf-softwire-br:br-instances";
    let document = world.get(root);
    match validate(document.to_string().as_bytes()) {
        Ok(Validation::Valid) => {}
        Ok(Validation::Skipped) => eprintln!("skipped: no yanglint (libyang2-tools)"),
        Err(said) => panic!("{said}"),
    }
    let instance = &document["ietf-softwire-br:br-instances"]["binding"]["bind-instance"][0];
    let traffic = &instance["traffic-stat"];
    assert_eq!(traffic["dropped-ipv4-packets"], "2");
    assert_eq!(traffic["active-softwire-num"], 2);
    assert!(traffic["discontinuity-time"].is_string());
    assert_eq!(instance["binding-table-versioning"]["version"], "1");
    let of = format!("{root}/binding/bind-instance=b");
    assert_eq!(
        world.get(&of)["ietf-softwire-br:bind-instance"][0],
        *instance
    );
    assert_eq!(
        world.get(&format!("{of}/binding-table"))["ietf-softwire-br:binding-table"],
        instance["binding-table"]
    );
    assert_eq!(
        world.get(&format!("{of}/traffic-stat"))["ietf-softwire-br:traffic-stat"],
        *traffic
    );
    let entry = world.get(&format!("{of}/binding-table/binding-entry=2001:db8:1::2"));
    let entries = &instance["binding-table"]["binding-entry"];
    assert_eq!(entry["ietf-softwire-br:binding-entry"][0], entries[1]);
    for (path, status) in [
        (
            format!("{of}/binding-table/binding-entry=2001:db8:1::7"),
            404,
        ),
        (format!("{of}/binding-table/binding-entry=x"), 400),
        (format!("{of}/nothing"), 404),
        (format!("{root}/binding/bind-instance=other"), 404),
        (format!("{root}/algorithm"), 404),
    ] {
        refused(world.ask(Method::GET, &path, ""), status);
    }
}

#[test]
fn who_had_a_port_is_found_now_and_in_the_past() {
    // R-270
    let world = World::new();
    let found = world.get("/lookup?address=192.0.2.1&port=1232");
    assert_eq!(found["found"][0]["softwire"]["b4"], "2001:db8:1::1");
    assert_eq!(found["found"][0]["subscriber"], "2001:db8:1::/56");
    assert_eq!(world.ask(Method::POST, "/softwires", NEW).0, 200);
    let at = world.get("/lookup?address=192.0.2.1&port=1240")["at"].clone();
    assert_eq!(
        world
            .ask(Method::DELETE, "/softwires/192.0.2.1/6,8,54", "")
            .0,
        200
    );
    let now = world.get("/lookup?address=192.0.2.1&port=1240");
    assert_eq!(now["found"], json!([]));
    let then = format!(
        "/lookup?address=192.0.2.1&port=1240&at={}",
        at.as_str().unwrap()
    );
    let then = world.get(&then);
    assert_eq!(then["found"][0]["softwire"]["b4"], "2001:db8:1::3");
    assert!(then["found"][0]["softwire"]["to"].is_string());
    let all = world.get("/lookup?address=192.0.2.1");
    assert_eq!(all["found"].as_array().unwrap().len(), 2);
    let back = world.get("/lookup?address=2001:db8:1::1");
    assert_eq!(back["found"][0]["softwire"]["psid"], 52);
    let prefix = world.get("/lookup?address=2001:db8:1::/56");
    assert_eq!(prefix["found"].as_array().unwrap().len(), 2);
    for wrong in [
        "address=x",
        "address=192.0.2.1&at=now",
        "address=::1&port=3",
        "port=3",
        "adress=x",
    ] {
        refused(world.ask(Method::GET, &format!("/lookup?{wrong}"), ""), 400);
    }
}

#[test]
fn changes_of_the_table_are_told_as_they_come() {
    // R-264
    let world = World::new();
    let client = world.client();
    let (to, lines) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            client.lines("/events", |line| {
                let line: Value = serde_json::from_str(line).unwrap();
                let last = line["event"] == "revoked";
                to.send(line).unwrap();
                if last {
                    std::ops::ControlFlow::Break(())
                } else {
                    std::ops::ControlFlow::Continue(())
                }
            })
        });
        // The first change that the client hears of says that it listens.
        let mut psid = 60;
        let first = loop {
            let body = NEW.replace("54", &psid.to_string());
            assert_eq!(world.ask(Method::POST, "/softwires", &body).0, 200);
            psid += 1;
            match lines.recv_timeout(std::time::Duration::from_millis(200)) {
                Ok(line) => break line,
                Err(_) => continue,
            }
        };
        assert_eq!(first["event"], "added");
        let entry = &first["ietf-softwire-br:softwire-binding-instance-event"];
        assert_eq!(
            entry,
            &json!({"bind-name": "b", "added-entry": ["2001:db8:1::3"]})
        );
        assert_eq!(
            world
                .ask(Method::DELETE, "/softwires/192.0.2.1/6,8,60", "")
                .0,
            200
        );
        let removed = lines.recv().unwrap();
        assert_eq!(removed["event"], "revoked");
        assert_eq!(
            removed["number"].as_u64().unwrap(),
            first["number"].as_u64().unwrap() + 1
        );
    });
}

#[test]
fn a_trace_runs_until_its_client_goes_away() {
    let world = World::new();
    let client = world.client();
    std::thread::scope(|scope| {
        let traced = scope.spawn(move || {
            let mut lines = Vec::new();
            let done = client.lines("/trace?ipv4=192.0.2.1&port=1232&drops=true", |line| {
                lines.push(line.to_owned());
                std::ops::ControlFlow::Break(())
            });
            done.map(|()| lines).unwrap()
        });
        world.until("the trace begins", || {
            !world.plane.0.lock().unwrap().traces.is_empty()
        });
        refused(world.ask(Method::GET, "/trace", ""), 409);
        {
            let plane = world.plane.0.lock().unwrap();
            let request = plane.traces[0].as_ref().unwrap();
            assert_eq!(request.ipv4, Some([192, 0, 2, 1].into()));
            assert_eq!(
                (request.port, request.b4, request.drops),
                (Some(1232), None, true)
            );
            request
                .to
                .try_send("{\"verdict\":\"drop\"}".to_owned())
                .unwrap();
        }
        assert_eq!(traced.join().unwrap(), ["{\"verdict\":\"drop\"}"]);
    });
    world.until("the trace ends", || {
        world.plane.0.lock().unwrap().traces.len() == 2
    });
    assert!(world.plane.0.lock().unwrap().traces[1].is_none());
}

#[test]
fn every_other_view_is_there() {
    let world = World::new();
    assert_eq!(
        world.get("/interfaces")[0]["counters"]["received"],
        1_234_567
    );
    assert_eq!(world.get("/workers")[0]["counters"]["forwarded"], 41);
    assert_eq!(world.get("/next-hops")[0]["mac"], "02:00:00:00:01:04");
    assert_eq!(world.get("/counters")["drops"]["no-binding"], 0);
    assert_eq!(world.get("/counters")["neighbors"]["arp-requests-in"], 7);
    assert_eq!(world.get("/config")["instance"]["softwire-num-max"], 8);
    assert_eq!(
        world.get("/config")["file"]["management"]["socket"],
        "m.sock"
    );
}

#[test]
fn a_wrong_path_or_method_is_refused() {
    let world = World::new();
    let (path, _, _) = refused(world.ask(Method::GET, "/nothing", ""), 404);
    assert_eq!(path, "/nothing");
    refused(world.ask(Method::DELETE, "/status", ""), 405);
    refused(world.ask(Method::GET, "/softwires?limit=x", ""), 400);
    refused(world.ask(Method::GET, "/softwires?after=x", ""), 400);
    refused(
        world.ask(Method::DELETE, "/softwires/192.0.2.1/1,2", ""),
        400,
    );
    let large = " ".repeat((1 << 20) + 1);
    refused(world.ask(Method::POST, "/softwires", &large), 413);
    assert_eq!(AFTR, "2001:db8:ffff::1");
}

#[test]
fn health_says_what_is_wrong() {
    let world = World::new();
    assert_eq!(world.ask(Method::GET, "/health", "").0, 200);
    type Break = fn(&mut world::Plane);
    let cases: [(&str, Break); 3] = [
        ("next-hop", |plane| plane.alarm = true),
        ("interface", |plane| plane.up = false),
        ("worker", |plane| plane.alive = false),
    ];
    for (kind, breaks) in cases {
        breaks(&mut world.plane.0.lock().unwrap());
        let (status, health) = world.ask(Method::GET, "/health", "");
        assert_eq!((status, &health["healthy"]), (503, &json!(false)));
        assert_eq!(health["alarms"][0]["kind"], kind);
        let mut plane = world.plane.0.lock().unwrap();
        (plane.alarm, plane.up, plane.alive) = (false, true, true);
    }
    world.plane.0.lock().unwrap().resolved = false;
    let (status, health) = world.ask(Method::GET, "/health", "");
    assert_eq!(status, 503);
    assert_eq!(
        health["next-hops-unresolved"],
        json!(["softwire", "internet"])
    );
    world.plane.0.lock().unwrap().resolved = true;
    *world.log.broken.lock().unwrap() = true;
    assert_eq!(world.ask(Method::POST, "/softwires", NEW).0, 200);
    let (status, health) = world.ask(Method::GET, "/health", "");
    assert_eq!((status, &health["alarms"][0]["kind"]), (503, &json!("log")));
}
