//! Bindings of an earlier run, beside those of the configuration file.

use lw4o6_binding::snapshot::Snapshot;
use lw4o6_binding::{Binding, Bindings, InsertError, SoftwireKey};
use lw4o6_wire::{Instant, PortParams};

use crate::error::Failure;
use crate::store::Stored;

/// Puts what was stored beside what the configuration file says. The file wins: stored bindings that
/// contradict it are left out and returned.
///
/// # Errors
///
/// Where the table has no room, or something else than a single binding is in the way.
//
pub(super) fn restore(
    bindings: &mut Bindings,
    now: Instant,
    stored: Stored,
) -> Result<Vec<Binding>, Failure> {
    let mut snapshot = Snapshot {
        version: stored.version,
        bindings: stored.bindings,
        quarantined: stored.quarantined,
        lapsed: stored.lapsed,
    };
    let mut revoked: Vec<Binding> = Vec::new();
    snapshot.bindings.retain(|binding| {
        let stays = !contradicts(bindings, binding);
        if !stays {
            tracing::warn!(
                softwire = %binding.key(),
                "a stored binding gives way to the configuration file"
            );
            revoked.push(*binding);
        }
        stays
    });
    // What is left may still break a rule that has changed since: one at a time, as each says which.
    loop {
        match bindings.load_snapshot(now, snapshot.clone()) {
            Ok(_) => break,
            Err(error) if error.index < snapshot.bindings.len() && !is_full(&error.error) => {
                let binding = snapshot.bindings.remove(error.index);
                tracing::warn!("a stored binding is not taken: {}", error.error);
                revoked.push(binding);
            }
            Err(error) => return Err(Failure::run(format!("stored bindings: {error}"))),
        }
    }
    Ok(revoked)
}

/// Whether `stored` has ports of an address that the table divides otherwise, or has given away.
fn contradicts(bindings: &Bindings, stored: &Binding) -> bool {
    let key = SoftwireKey {
        ipv4: stored.ipv4,
        ports: PortParams::FULL,
    };
    let on_address = bindings
        .get(&key)
        .or_else(|| bindings.after(Some(&key)).next());
    let Some(other) = on_address.filter(|other| other.ipv4 == stored.ipv4) else {
        return false;
    };
    let layout = |binding: &Binding| (binding.ports.offset(), binding.ports.len());
    layout(other) != layout(stored) || bindings.get(&stored.key()).is_some()
}

/// Whether taking one binding away does not help.
fn is_full(error: &InsertError) -> bool {
    matches!(
        error,
        InsertError::NoRoom { .. } | InsertError::Waiting { .. }
    )
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use lw4o6_binding::{BindingsConfig, Expiry, Origin};

    use super::*;

    fn binding(psid: u16, len: u8, b4: u16, origin: Origin) -> Binding {
        Binding {
            b4: Ipv6Addr::new(0x2001, 0xdb8, b4, 0, 0, 0, 0, 1),
            prefix_len: 128,
            ipv4: Ipv4Addr::new(192, 0, 2, 1),
            ports: PortParams::new(0, len, psid).unwrap(),
            aftr: Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1),
            origin,
            expires: match origin {
                Origin::Static => Expiry::Never,
                Origin::Operator | Origin::Dhcp | Origin::Pcp | Origin::Peer => {
                    Expiry::At(Instant::from_secs(100))
                }
            },
        }
    }

    /// What is bound, and to whom, after a start with `configured` and `stored`.
    fn started(configured: Vec<Binding>, stored: Vec<Binding>) -> (Vec<Binding>, Vec<Binding>) {
        let mut config = BindingsConfig::default();
        config.softwires = 16;
        let mut bindings = Bindings::without_table(config);
        bindings.load(Instant::ZERO, configured).unwrap();
        let stored = Stored {
            version: 7,
            bindings: stored,
            ..Stored::default()
        };
        let revoked = restore(&mut bindings, Instant::ZERO, stored).unwrap();
        assert!(bindings.version() > 7, "numbers go on");
        (bindings.iter().copied().collect(), revoked)
    }

    #[test]
    fn stored_leases_stand_beside_the_file() {
        //
        let file = binding(1, 6, 1, Origin::Static);
        let lease = binding(2, 6, 2, Origin::Dhcp);
        assert_eq!(
            started(vec![file], vec![lease]),
            (vec![file, lease], vec![])
        );
    }

    #[test]
    fn the_file_wins_over_a_stored_lease_of_the_same_softwire() {
        let file = binding(1, 6, 1, Origin::Static);
        let [same, other] = [binding(1, 6, 9, Origin::Pcp), binding(3, 6, 3, Origin::Pcp)];
        let expected = (vec![file, other], vec![same]);
        assert_eq!(started(vec![file], vec![same, other]), expected);
    }

    #[test]
    fn the_file_wins_over_stored_leases_that_divide_the_address_otherwise() {
        let file = binding(1, 6, 1, Origin::Static);
        let leases = vec![
            binding(200, 8, 2, Origin::Dhcp),
            binding(201, 8, 3, Origin::Dhcp),
        ];
        assert_eq!(started(vec![file], leases.clone()), (vec![file], leases));
    }

    #[test]
    fn a_stored_lease_that_a_new_rule_forbids_is_left_out_alone() {
        let mut bad = binding(1, 6, 1, Origin::Dhcp);
        bad.b4 = bad.aftr;
        let good = binding(2, 6, 2, Origin::Dhcp);
        assert_eq!(started(vec![], vec![bad, good]), (vec![good], vec![bad]));
    }
}
