//! The model by itself: it keeps the rules that hold for every lwAFTR, and the operations reach what
//! they are meant to reach.

use testkit::compare::ops::Ops;
use testkit::compare::run::{Seen, play, report};
use testkit::model::Model;

fn make(config: &testkit::model::ModelConfig, b: &[testkit::model::ModelBinding]) -> Model {
    Model::new(config.clone(), b.to_vec())
}

#[test]
fn the_model_keeps_the_rules_of_every_lwaftr() {
    let mut seen = Seen::new();
    for seed in 0..80 {
        let ops = Ops::random(seed, 250);
        if let Err(mismatch) = play(&ops, make, &mut seen) {
            panic!(
                "{}\n{}",
                mismatch.text,
                report(&ops, make).unwrap_or_default()
            );
        }
    }
    if std::env::var_os("LW4O6_SEEN").is_some() {
        for (name, count) in &seen {
            println!("{count:8} {name}");
        }
    }
    assert!(seen.len() > 93, "only {} different outcomes", seen.len());
}

#[test]
fn a_run_survives_text_and_bytes() {
    let ops = Ops::random(7, 20);
    assert_eq!(Ops::from_text(&ops.to_text()), ops);
    assert_eq!(Ops::from_bytes(&ops.to_bytes()), ops);
}
