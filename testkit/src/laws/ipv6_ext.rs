//! A walk over extension headers stays in bounds, points at what it names, and is not greedy.

use lw4o6_wire::IpProtocol;
use lw4o6_wire::ipv6_ext::{ExtProblem, ExtWalk, FragmentHeader, MAX_EXT_BYTES, walk};

use super::prefix;

/// Input: the next header of the fixed header, then the payload.
pub fn law(data: &[u8]) {
    let Some((&first, payload)) = data.split_first() else {
        return;
    };
    let first = IpProtocol(first);
    match walk(first, payload) {
        Ok(walked) => {
            placed(first, payload, &walked);
            not_greedy(first, payload, &walked);
            match walked.past_fragment() {
                Ok(behind) => placed(first, payload, &behind),
                Err(problem) => pointed(payload, problem),
            }
        }
        Err(problem) => pointed(payload, problem),
    }
}

fn placed(first: IpProtocol, payload: &[u8], walk: &ExtWalk<'_>) {
    let fragment_len = walk.fragment.map_or(0, |_| FragmentHeader::LEN);
    assert_eq!(walk.fragment.is_some(), walk.next == IpProtocol::FRAGMENT);
    let behind = walk.offset + fragment_len;
    assert_eq!(payload.get(behind..), Some(walk.payload));
    assert!(behind <= MAX_EXT_BYTES);
    let named = match walk.next_header_at.checked_sub(40) {
        None => {
            assert_eq!(walk.next_header_at, 6);
            Some(first.0)
        }
        Some(at) => payload.get(at).copied(),
    };
    assert_eq!(named, Some(walk.next.0));
    if let Some(limit) = walk.encap_limit {
        let at = limit.at.checked_sub(40).and_then(|at| payload.get(at));
        assert_eq!(at, Some(&limit.limit));
    }
}

/// Nothing behind the headers was looked at, and all of them were needed.
fn not_greedy(first: IpProtocol, payload: &[u8], walked: &ExtWalk<'_>) {
    let headers = payload.len() - walked.payload.len();
    let again = walk(first, prefix(payload, headers)).map(|w| (w.next, w.offset, w.encap_limit));
    assert_eq!(again, Ok((walked.next, walked.offset, walked.encap_limit)));
    if let Some(short) = headers.checked_sub(1) {
        let again = walk(first, prefix(payload, short));
        assert_eq!(again, Err(ExtProblem::Truncated));
    }
}

/// The pointer of an error message lies inside the packet.
fn pointed(payload: &[u8], problem: ExtProblem) {
    for multicast in [false, true] {
        if let Some((code, pointer)) = problem.parameter_problem(multicast) {
            assert!(code <= 2);
            assert!((6..40 + payload.len()).contains(&usize::try_from(pointer).unwrap_or(0)));
        }
    }
}
