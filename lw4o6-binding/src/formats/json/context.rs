//! Reading JSON with a path: the pieces that the model's containers are read with.
//!
//! Each container says which members it knows and reads them one by one from the text, so there
//! is no document in memory. The path of the member being read is kept as a stack; where reading
//! fails, the stack stays as it is and names the place.

use std::borrow::Cow;
use std::fmt;
use std::format;
use std::ops::RangeInclusive;
use std::string::{String, ToString};
use std::vec::Vec;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::formats::error::{quoted, shown};
use crate::formats::{ImportError, ImportErrorKind, Place};
use crate::utc::Clock;

/// State of one import.
#[derive(Debug)]
pub(super) struct Context {
    path: Vec<Segment>,
    refusal: Option<ImportErrorKind>,
    /// What ties UTC in the text to the time of the bindings.
    pub(super) clock: Clock,
}

#[derive(Debug)]
enum Segment {
    Name(&'static str),
    Unknown(String),
    Entry(u32),
    Keyed(String),
}

/// The refusal is in the [`Context`].
#[derive(Debug)]
pub(super) struct Refused;

impl Context {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            path: Vec::new(),
            refusal: None,
            clock,
        }
    }

    /// Refuses what stands at the current path.
    pub(super) fn refuse(&mut self, kind: ImportErrorKind) -> Refused {
        self.refusal = Some(kind);
        Refused
    }

    /// Refuses a member of the container at the current path.
    pub(super) fn refuse_at(&mut self, member: &'static str, kind: ImportErrorKind) -> Refused {
        self.path.push(Segment::Name(member));
        self.refuse(kind)
    }

    /// Refuses an entry of a list in the container at the current path.
    pub(super) fn refuse_entry(
        &mut self,
        list: &'static str,
        entry: u32,
        kind: ImportErrorKind,
    ) -> Refused {
        self.path.push(Segment::Name(list));
        self.path.push(Segment::Entry(entry));
        self.refuse(kind)
    }

    /// Names the list entry whose member is being read by its key instead of its position.
    pub(super) fn name_entry(&mut self, name: &str) {
        let entry = self.path.len().checked_sub(2);
        if let Some(segment) = entry.and_then(|at| self.path.get_mut(at)) {
            *segment = Segment::Keyed(shown(name));
        }
    }

    /// Position of the innermost list entry, from 1.
    pub(super) fn position(&self) -> u32 {
        let entries = self.path.iter().rev().filter_map(|segment| match segment {
            Segment::Entry(n) => Some(*n),
            Segment::Name(_) | Segment::Unknown(_) | Segment::Keyed(_) => None,
        });
        entries.into_iter().next().unwrap_or_default()
    }

    /// What went wrong, in our words where we said it, else in those of the JSON reader.
    pub(super) fn into_error(mut self, error: &serde_json::Error) -> ImportError {
        if let Some(kind) = self.refusal.take() {
            return ImportError {
                place: Place::Path(self.path()),
                kind,
            };
        }
        let at = format!(" at line {} column {}", error.line(), error.column());
        let whole = error.to_string();
        let said = whole.strip_suffix(&at).unwrap_or(&whole);
        let small = |n| u32::try_from(n).unwrap_or(u32::MAX);
        ImportError {
            place: Place::Column {
                line: small(error.line()),
                column: small(error.column()),
            },
            kind: ImportErrorKind::Json(said.to_string()),
        }
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for segment in &self.path {
            match segment {
                Segment::Name(name) => path.extend(["/", name]),
                Segment::Unknown(name) => path.extend(["/", name]),
                Segment::Entry(n) => path.push_str(&format!("[{n}]")),
                Segment::Keyed(name) => path.push_str(&format!("[name='{name}']")),
            }
        }
        if path.is_empty() {
            path.push('/');
        }
        path
    }

    fn value<'de, A: MapAccess<'de>>(
        &mut self,
        map: &mut A,
        rule: &'static str,
    ) -> Result<Scalar<'de>, A::Error> {
        map.next_value_seed(ScalarSeed { cx: self, rule })
    }

    fn checked<T, E: Error>(
        &mut self,
        value: Option<T>,
        given: &Scalar<'_>,
        rule: &'static str,
    ) -> Result<T, E> {
        value.ok_or_else(|| self.wrong(given.to_string(), rule).into_error())
    }

    fn wrong(&mut self, value: String, rule: &'static str) -> Refused {
        self.refuse(ImportErrorKind::Value {
            key: String::new(),
            value,
            rule,
        })
    }

    /// A number in `range`.
    pub(super) fn number<'de, T: TryFrom<u64>, A: MapAccess<'de>>(
        &mut self,
        map: &mut A,
        range: RangeInclusive<u64>,
        rule: &'static str,
    ) -> Result<T, A::Error> {
        let given = self.value(map, rule)?;
        let number = match given {
            Scalar::Number(n) if range.contains(&n) => T::try_from(n).ok(),
            Scalar::Number(_) | Scalar::Text(_) | Scalar::Bool(_) | Scalar::Other(_) => None,
        };
        self.checked(number, &given, rule)
    }

    /// `true` or `false`.
    pub(super) fn boolean<'de, A: MapAccess<'de>>(
        &mut self,
        map: &mut A,
    ) -> Result<bool, A::Error> {
        let rule = "true or false";
        let given = self.value(map, rule)?;
        let value = match given {
            Scalar::Bool(value) => Some(value),
            Scalar::Number(_) | Scalar::Text(_) | Scalar::Other(_) => None,
        };
        self.checked(value, &given, rule)
    }

    /// A string that `read` understands.
    pub(super) fn text<'de, T, A: MapAccess<'de>>(
        &mut self,
        map: &mut A,
        rule: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, A::Error> {
        let given = self.value(map, rule)?;
        let value = match &given {
            Scalar::Text(text) => read(text),
            Scalar::Number(_) | Scalar::Bool(_) | Scalar::Other(_) => None,
        };
        self.checked(value, &given, rule)
    }

    /// A container as the value of the member being read.
    pub(super) fn object<'de, T: Object, A: MapAccess<'de>>(
        &mut self,
        map: &mut A,
        object: &mut T,
    ) -> Result<(), A::Error> {
        map.next_value_seed(ObjectSeed { cx: self, object })
    }

    /// A list as the value of the member being read.
    pub(super) fn list<'de, T: List, A: MapAccess<'de>>(
        &mut self,
        map: &mut A,
        list: &mut T,
    ) -> Result<(), A::Error> {
        map.next_value_seed(ListSeed { cx: self, list })
    }
}

impl Refused {
    /// What stops the JSON reader; nobody sees its text.
    pub(super) fn into_error<E: Error>(self) -> E {
        let Self = self;
        E::custom("refused")
    }
}

/// A container of the model.
pub(super) trait Object {
    /// Its name in messages.
    const NAME: &'static str;
    /// Members it has; at most 32.
    const MEMBERS: &'static [&'static str];
    /// Members that must be there.
    const MANDATORY: &'static [&'static str];

    /// Reads the value of `member`.
    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        member: &'static str,
        cx: &mut Context,
        map: &mut A,
    ) -> Result<(), A::Error>;

    /// Checks the members against each other once all were read.
    fn finish(&mut self, cx: &mut Context) -> Result<(), Refused> {
        let _ = cx;
        Ok(())
    }
}

/// A list of the model.
pub(super) trait List {
    /// One entry.
    type Entry: Object + Default;

    /// Takes an entry that was read.
    fn push(&mut self, entry: Self::Entry, cx: &mut Context) -> Result<(), Refused>;
}

/// Reads a container.
pub(super) struct ObjectSeed<'a, T> {
    pub(super) cx: &'a mut Context,
    pub(super) object: &'a mut T,
}

impl<'de, T: Object> DeserializeSeed<'de> for ObjectSeed<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Refusals of every JSON type but the one that is wanted.
macro_rules! refuse_scalars {
    ($rule:expr) => {
        fn visit_bool<E: Error>(self, v: bool) -> Result<Self::Value, E> {
            Err(self.cx.wrong(v.to_string(), $rule).into_error())
        }
        fn visit_u64<E: Error>(self, v: u64) -> Result<Self::Value, E> {
            Err(self.cx.wrong(v.to_string(), $rule).into_error())
        }
        fn visit_i64<E: Error>(self, v: i64) -> Result<Self::Value, E> {
            Err(self.cx.wrong(v.to_string(), $rule).into_error())
        }
        fn visit_f64<E: Error>(self, v: f64) -> Result<Self::Value, E> {
            Err(self.cx.wrong(format!("{v:?}"), $rule).into_error())
        }
        fn visit_str<E: Error>(self, v: &str) -> Result<Self::Value, E> {
            Err(self.cx.wrong(quoted(v), $rule).into_error())
        }
        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Err(self.cx.wrong("null".to_string(), $rule).into_error())
        }
    };
}

impl<'de, T: Object> Visitor<'de> for ObjectSeed<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    refuse_scalars!("an object");

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(self
            .cx
            .wrong("an array".to_string(), "an object")
            .into_error())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { cx, object } = self;
        let mut seen = 0_u32;
        while let Some(member) = map.next_key_seed(KeySeed::<T>::new(cx))? {
            let Key { name, bit } = member;
            cx.path.push(Segment::Name(name));
            if seen & bit != 0 {
                let twice = ImportErrorKind::DuplicateKey(name.to_string());
                return Err(cx.refuse(twice).into_error());
            }
            seen |= bit;
            object.member(name, cx, &mut map)?;
            cx.path.pop();
        }
        for (member, bit) in bits(T::MEMBERS) {
            if seen & bit == 0 && T::MANDATORY.contains(&member) {
                let kind = ImportErrorKind::MissingKey {
                    key: member,
                    within: T::NAME,
                };
                return Err(cx.refuse(kind).into_error());
            }
        }
        object.finish(cx).map_err(Refused::into_error)
    }
}

/// Members with a bit for each.
fn bits(members: &'static [&'static str]) -> impl Iterator<Item = (&'static str, u32)> {
    (0..32).zip(members).map(|(n, name)| (*name, 1 << n))
}

/// A member that the container has.
struct Key {
    name: &'static str,
    bit: u32,
}

/// Reads the name of a member of `T`.
struct KeySeed<'a, T> {
    cx: &'a mut Context,
    object: core::marker::PhantomData<T>,
}

impl<'a, T> KeySeed<'a, T> {
    fn new(cx: &'a mut Context) -> Self {
        Self {
            cx,
            object: core::marker::PhantomData,
        }
    }
}

impl<'de, T: Object> DeserializeSeed<'de> for KeySeed<'_, T> {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<T: Object> Visitor<'_> for KeySeed<'_, T> {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_str<E: Error>(self, given: &str) -> Result<Key, E> {
        let known = bits(T::MEMBERS).find(|(name, _)| *name == given);
        if let Some((name, bit)) = known {
            return Ok(Key { name, bit });
        }
        self.cx.path.push(Segment::Unknown(shown(given)));
        let kind = ImportErrorKind::UnknownKey(String::new());
        Err(self.cx.refuse(kind).into_error())
    }
}

/// Reads a list.
struct ListSeed<'a, T> {
    cx: &'a mut Context,
    list: &'a mut T,
}

impl<'de, T: List> DeserializeSeed<'de> for ListSeed<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: List> Visitor<'de> for ListSeed<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    refuse_scalars!("an array");

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(self
            .cx
            .wrong("an object".to_string(), "an array")
            .into_error())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { cx, list } = self;
        for n in 1.. {
            let mut entry = T::Entry::default();
            cx.path.push(Segment::Entry(n));
            let object = &mut entry;
            if seq.next_element_seed(ObjectSeed { cx, object })?.is_none() {
                cx.path.pop();
                break;
            }
            list.push(entry, cx).map_err(Refused::into_error)?;
            cx.path.pop();
        }
        Ok(())
    }
}

/// A value that is neither object nor array nor null.
enum Scalar<'de> {
    Number(u64),
    Text(Cow<'de, str>),
    Bool(bool),
    /// A number that is negative, broken, or too large.
    Other(String),
}

impl fmt::Display for Scalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(n) => write!(f, "{n}"),
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

struct ScalarSeed<'a> {
    cx: &'a mut Context,
    rule: &'static str,
}

impl<'de> DeserializeSeed<'de> for ScalarSeed<'_> {
    type Value = Scalar<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Scalar<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ScalarSeed<'_> {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule)
    }

    fn visit_bool<E: Error>(self, v: bool) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Bool(v))
    }

    fn visit_u64<E: Error>(self, v: u64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Number(v))
    }

    fn visit_i64<E: Error>(self, v: i64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Other(v.to_string()))
    }

    fn visit_f64<E: Error>(self, v: f64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Other(format!("{v:?}")))
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(v.to_string())))
    }

    fn visit_borrowed_str<E: Error>(self, v: &'de str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Borrowed(v)))
    }

    fn visit_unit<E: Error>(self) -> Result<Scalar<'de>, E> {
        Err(self.cx.wrong("null".to_string(), self.rule).into_error())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Scalar<'de>, A::Error> {
        Err(self
            .cx
            .wrong("an array".to_string(), self.rule)
            .into_error())
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Scalar<'de>, A::Error> {
        Err(self
            .cx
            .wrong("an object".to_string(), self.rule)
            .into_error())
    }
}
