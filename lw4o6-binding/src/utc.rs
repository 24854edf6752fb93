//! Wall-clock time of stored and exported data, and how it is tied to [`Instant`].
//!
//! Tables live on monotonic time, files on UTC (a file outlives the clock that made it). The owner
//! of the clocks says once, and after every step of the wall clock, which two moments are the
//! same: a [`Clock`].

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use lw4o6_wire::Instant;

/// A moment of UTC: microseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
///
/// Its text is `date-and-time` of RFC 6991 §3 with `Z`: `2026-11-20T19:05:32Z`, with as many
/// digits of a second as are needed. Reading takes any offset from UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Utc(u64);

/// Text that is no date and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a date and time like 2026-11-20T19:05:32Z, between 1970 and 9999")]
pub struct UtcError;

/// Two names of one moment: the monotonic clock of the program and UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The moment on the monotonic clock.
    pub instant: Instant,
    /// The same moment in UTC.
    pub utc: Utc,
}

const DAY: u64 = 86_400;
const SECOND: u64 = 1_000_000;

impl Utc {
    /// The last moment with a four-digit year, 9999-12-31T23:59:59.999999Z.
    pub const MAX: Self = Self(253_402_300_799_999_999);

    /// Microseconds since 1970; later than [`MAX`](Self::MAX) counts as that.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        if micros > Self::MAX.0 {
            return Self::MAX;
        }
        Self(micros)
    }

    /// Microseconds since 1970.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }
}

impl Clock {
    /// UTC of `instant`.
    #[must_use]
    pub fn utc_of(self, instant: Instant) -> Utc {
        let back = self.instant.saturating_since(instant);
        let ahead = instant.saturating_since(self.instant);
        Utc::from_micros(
            (self.utc.0)
                .saturating_add(micros(ahead))
                .saturating_sub(micros(back)),
        )
    }

    /// The monotonic moment of `utc`; [`Instant::ZERO`] where that lies before the clock began,
    /// which for an end of lease is as much in the past as any.
    #[must_use]
    pub fn instant_of(self, utc: Utc) -> Instant {
        let ahead = utc.0.saturating_sub(self.utc.0);
        let back = self.utc.0.saturating_sub(utc.0);
        let now = self.instant.as_micros();
        Instant::from_micros(now.saturating_add(ahead).saturating_sub(back))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / SECOND;
        let (year, month, day) = date(seconds / DAY);
        let (hour, minute) = (seconds % DAY / 3600, seconds % 3600 / 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}",
            seconds % 60
        )?;
        let mut fraction = self.0 % SECOND;
        if fraction > 0 {
            let mut digits = 6;
            while fraction.is_multiple_of(10) {
                fraction /= 10;
                digits -= 1;
            }
            write!(f, ".{fraction:0digits$}")?;
        }
        f.write_str("Z")
    }
}

impl FromStr for Utc {
    type Err = UtcError;

    /// Digits after the microsecond are dropped; a 60th second counts as the next one.
    fn from_str(text: &str) -> Result<Self, UtcError> {
        parse(text).ok_or(UtcError)
    }
}

fn parse(text: &str) -> Option<Utc> {
    let mut text = Text(text);
    let year = text.number(4, 9999)?;
    let month = text.after('-')?.number(2, 12)?;
    let day = text.after('-')?.number(2, 31)?;
    let hour = text.after('T')?.number(2, 23)?;
    let minute = text.after(':')?.number(2, 59)?;
    let second = text.after(':')?.number(2, 60)?;
    let fraction = text.fraction()?;
    let offset = text.offset()?;
    if !text.0.is_empty() {
        return None;
    }
    let days = days(year, month, day)?;
    let local = i64::try_from(days * DAY + hour * 3600 + minute * 60 + second).ok()?;
    let seconds = u64::try_from(local.checked_sub(offset)?).ok()?;
    let micros = seconds * SECOND + fraction;
    (micros <= Utc::MAX.0).then_some(Utc(micros))
}

/// What is left of a date.
struct Text<'a>(&'a str);

impl Text<'_> {
    /// Skips `mark`.
    fn after(&mut self, mark: char) -> Option<&mut Self> {
        self.0 = self.0.strip_prefix(mark)?;
        Some(self)
    }

    /// Exactly `digits` digits, at most `max`.
    fn number(&mut self, digits: usize, max: u64) -> Option<u64> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        if !number.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        self.0 = rest;
        number.parse().ok().filter(|n| *n <= max)
    }

    /// Microseconds after the second.
    fn fraction(&mut self) -> Option<u64> {
        let Some(text) = self.0.strip_prefix('.') else {
            return Some(0);
        };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = text.split_at_checked(digits)?;
        self.0 = rest;
        let six = number.bytes().chain(core::iter::repeat(b'0')).take(6);
        (digits > 0).then(|| six.fold(0, |n, digit| n * 10 + u64::from(digit - b'0')))
    }

    /// Seconds that the written time is ahead of UTC.
    fn offset(&mut self) -> Option<i64> {
        if self.after('Z').is_some() {
            return Some(0);
        }
        let sign = if self.after('+').is_some() {
            1
        } else {
            self.after('-')?;
            -1
        };
        let hours = self.number(2, 23)?;
        let minutes = self.after(':')?.number(2, 59)?;
        i64::try_from(hours * 3600 + minutes * 60)
            .ok()
            .map(|s| sign * s)
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar; `None` for dates that do not exist.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    // Years that start in March have their odd day at the end.
    let shifted = if month > 2 {
        year
    } else {
        year.checked_sub(1)?
    };
    let month_of_year = (month.checked_sub(1)? + 10) % 12;
    let day_of_year = (153 * month_of_year + 2) / 5 + day.checked_sub(1)?;
    let since_0 = shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + day_of_year;
    let days = since_0.checked_sub(TO_1970)?;
    (date(days) == (year, month, day)).then_some(days)
}

/// Days from 0000-03-01 to 1970-01-01.
const TO_1970: u64 = 719_468;

/// Year, month and day, `days` after 1970-01-01.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + TO_1970;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_of_year = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_of_year + 2) / 5 + 1;
    let month = (month_of_year + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use proptest::prelude::*;

    use super::*;

    fn utc(text: &str) -> u64 {
        text.parse::<Utc>().unwrap().as_micros()
    }

    #[test]
    fn known_moments_are_read() {
        assert_eq!(utc("1970-01-01T00:00:00Z"), 0);
        assert_eq!(utc("2000-02-29T12:00:00Z"), 951_825_600_000_000);
        assert_eq!(utc("2026-11-20T19:05:32.25Z"), 1_795_201_532_250_000);
        assert_eq!(utc("2026-11-20T19:05:32.1234567Z"), 1_795_201_532_123_456);
        assert_eq!(utc("2026-11-20T21:05:32+02:00"), 1_795_201_532_000_000);
        assert_eq!(utc("2026-11-20T18:35:32-00:30"), 1_795_201_532_000_000);
        assert_eq!(utc("2016-12-31T23:59:60Z"), utc("2017-01-01T00:00:00Z"));
        assert_eq!(utc("9999-12-31T23:59:59.999999Z"), Utc::MAX.as_micros());
    }

    #[test]
    fn dates_that_do_not_exist_are_refused() {
        for text in [
            "",
            "2026-11-20",
            "2026-11-20T19:05:32",
            "2026-11-20t19:05:32Z",
            "2026-11-20T19:05:32.Z",
            "2026-11-20T19:05:32Z ",
            "2026-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-00-10T00:00:00Z",
            "2026-13-10T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:00+2:00",
            "1969-12-31T23:59:59Z",
            "0000-01-01T00:00:00Z",
            "1970-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "+026-01-01T00:00:00Z",
            "é026-01-01T00:00:00Z",
        ] {
            assert_eq!(text.parse::<Utc>(), Err(UtcError), "{text}");
        }
    }

    #[test]
    fn a_clock_maps_both_ways_and_stops_at_its_begin() {
        let clock = Clock {
            instant: Instant::from_secs(100),
            utc: Utc::from_micros(1_795_201_532_000_000),
        };
        let later = Instant::from_micros(100_500_000);
        assert_eq!(clock.utc_of(later).to_string(), "2026-11-20T19:05:32.5Z");
        assert_eq!(clock.instant_of(clock.utc_of(later)), later);
        let earlier = Instant::from_secs(1);
        assert_eq!(clock.utc_of(earlier).to_string(), "2026-11-20T19:03:53Z");
        assert_eq!(clock.instant_of(clock.utc_of(earlier)), earlier);
        assert_eq!(clock.instant_of(Utc::from_micros(0)), Instant::ZERO);
        assert_eq!(clock.utc_of(Instant::from_micros(u64::MAX)), Utc::MAX);
    }

    proptest! {
        #[test]
        fn every_moment_survives_its_text(micros in 0..=Utc::MAX.as_micros()) {
            let moment = Utc::from_micros(micros);
            prop_assert_eq!(moment.to_string().parse(), Ok(moment));
        }

        #[test]
        fn no_text_panics(text in "[0-9TZ:+.-]{0,32}") {
            let _ = text.parse::<Utc>();
        }
    }
}
