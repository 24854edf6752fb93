//! The first bytes of transport headers: ports and minimum lengths.
