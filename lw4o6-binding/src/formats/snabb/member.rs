//! Members of a block: what stands in one, and how its text becomes a value.

use std::borrow::Cow;
use std::format;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::string::{String, ToString};

use lw4o6_wire::ethernet::MacAddr;

use super::Leaf;
use super::lex::{Lexer, StatementKind};
use crate::formats::error::{quoted, shown};
use crate::formats::{ImportError, ImportErrorKind};

type Result<T> = core::result::Result<T, ImportError>;

/// A leaf, or the start of a block, inside a block.
pub(super) struct Member<'a> {
    pub(super) shape: Shape,
    pub(super) name: &'a str,
    /// Text of a leaf.
    pub(super) text: Cow<'a, str>,
    pub(super) line: u32,
}

#[derive(Clone, Copy)]
pub(super) enum Shape {
    Leaf,
    Block,
}

/// The next member of the block that is open; `None` where the block ends.
pub(super) fn member<'a>(lexer: &mut Lexer<'a>) -> Result<Option<Member<'a>>> {
    let statement = lexer.statement()?;
    let line = statement.line;
    match statement.kind {
        StatementKind::Leaf(name, text) => Ok(Some(Member {
            shape: Shape::Leaf,
            name,
            text,
            line,
        })),
        StatementKind::Open(name) => Ok(Some(Member {
            shape: Shape::Block,
            name,
            text: Cow::Borrowed(""),
            line,
        })),
        StatementKind::Close => Ok(None),
        end @ StatementKind::End => Err(expected(line, "a name or '}'", &end)),
    }
}

pub(super) fn expected(
    line: u32,
    expected: &'static str,
    found: &StatementKind<'_>,
) -> ImportError {
    let found = match found {
        StatementKind::Leaf(name, _) => quoted(name),
        StatementKind::Open(name) => quoted(&format!("{name} {{")),
        StatementKind::Close => String::from("'}'"),
        StatementKind::End => String::from("the end of the text"),
    };
    ImportError::on_line(line, ImportErrorKind::Syntax { expected, found })
}

pub(super) fn unknown(member: &Member<'_>, within: &'static str) -> ImportError {
    ImportError::on_line(
        member.line,
        ImportErrorKind::UnknownKey(format!("{} in {within}", shown(member.name))),
    )
}

pub(super) fn twice(line: u32, name: String) -> ImportError {
    ImportError::on_line(line, ImportErrorKind::DuplicateKey(name))
}

pub(super) fn missing(line: u32, key: &'static str, within: &'static str) -> ImportError {
    ImportError::on_line(line, ImportErrorKind::MissingKey { key, within })
}

impl Member<'_> {
    pub(super) fn refused(&self, rule: &'static str) -> ImportError {
        ImportError::on_line(
            self.line,
            ImportErrorKind::Value {
                key: self.name.to_string(),
                value: quoted(&self.text),
                rule,
            },
        )
    }

    pub(super) fn read<T>(&self, value: Option<T>, rule: &'static str) -> Result<Leaf<T>> {
        let value = value.ok_or_else(|| self.refused(rule))?;
        Ok(Leaf {
            value,
            line: Some(self.line),
        })
    }

    /// Decimal, or hexadecimal after `0x`; YANG's octal is refused rather than misread.
    pub(super) fn number(&self) -> Option<u64> {
        let text: &str = &self.text;
        if let Some(hex) = text.strip_prefix("0x") {
            return hex
                .bytes()
                .all(|b| b.is_ascii_hexdigit())
                .then(|| u64::from_str_radix(hex, 16).ok())?;
        }
        let plain = text == "0" || !text.starts_with(['0', '+']);
        plain.then(|| text.parse().ok())?
    }

    pub(super) fn ranged<T: TryFrom<u64>>(
        &self,
        range: RangeInclusive<u64>,
        rule: &'static str,
    ) -> Result<Leaf<T>> {
        let number = self.number().filter(|n| range.contains(n));
        self.read(number.and_then(|n| T::try_from(n).ok()), rule)
    }

    pub(super) fn u16(&self) -> Result<Leaf<u16>> {
        self.ranged(0..=0xffff, "a number from 0 to 65535")
    }

    pub(super) fn u32(&self) -> Result<Leaf<u32>> {
        self.ranged(0..=0xffff_ffff, "a number from 0 to 4294967295")
    }

    pub(super) fn u32_from_1(&self) -> Result<Leaf<u32>> {
        self.ranged(1..=0xffff_ffff, "a number from 1 to 4294967295")
    }

    pub(super) fn vlan(&self) -> Result<Leaf<u16>> {
        self.ranged(0..=4095, "a VLAN tag from 0 to 4095")
    }

    pub(super) fn bits(&self) -> Result<Leaf<u8>> {
        self.ranged(0..=16, "a number from 0 to 16")
    }

    pub(super) fn boolean(&self) -> Result<Leaf<bool>> {
        let value = match &*self.text {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        };
        self.read(value, "true or false")
    }

    pub(super) fn address<A: FromStr>(&self, rule: &'static str) -> Result<Leaf<A>> {
        self.read(self.text.parse().ok(), rule)
    }

    pub(super) fn mac(&self) -> Result<Leaf<MacAddr>> {
        let rule = "an Ethernet address, six pairs of hexadecimal digits with colons between";
        let plain = !self.text.contains('-');
        self.read(self.text.parse().ok().filter(|_| plain), rule)
    }

    pub(super) fn string(&self) -> Leaf<String> {
        Leaf {
            value: self.text.to_string(),
            line: Some(self.line),
        }
    }
}

/// Replaces a default; a second value for the same key is refused.
pub(super) fn put<T>(slot: &mut Leaf<T>, leaf: &Member<'_>, value: Leaf<T>) -> Result<()> {
    if slot.line.is_some() {
        return Err(twice(leaf.line, leaf.name.to_string()));
    }
    *slot = value;
    Ok(())
}

/// Fills a slot that has no default.
pub(super) fn fill<T>(slot: &mut Option<T>, member: &Member<'_>, value: T) -> Result<()> {
    if slot.replace(value).is_some() {
        return Err(twice(member.line, member.name.to_string()));
    }
    Ok(())
}
