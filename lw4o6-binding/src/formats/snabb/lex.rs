//! Words and statements of the YANG text form that Snabb uses for data.
//!
//! ```text
//! statement = name value ";"            a leaf
//!           | name "{" *statement "}"   a container or list entry
//! value     = bare word | quoted string *("+" quoted string)
//! ```
//! Blanks, `//` to the end of the line and `/* */` stand between words. `"…"` knows `\n`, `\t`,
//! `\"` and `\\`; `'…'` knows no escape. Statements come one at a time, so no tree is built and
//! nothing recurses on what the text says.

use std::borrow::Cow;
use std::string::String;

use nom::branch::alt;
use nom::bytes::complete::{is_not, tag, take_until, take_while1};
use nom::character::complete::{char, multispace1, one_of};
use nom::combinator::{recognize, value};
use nom::multi::many0_count;
use nom::sequence::{delimited, pair, preceded, terminated};
use nom::{IResult, Parser};

use crate::formats::error::quoted;
use crate::formats::{ImportError, ImportErrorKind};

/// One statement with the line it starts on.
#[derive(Debug)]
pub(super) struct Statement<'a> {
    pub(super) line: u32,
    pub(super) kind: StatementKind<'a>,
}

/// What a statement is.
#[derive(Debug)]
pub(super) enum StatementKind<'a> {
    /// `name value;`
    Leaf(&'a str, Cow<'a, str>),
    /// `name {`
    Open(&'a str),
    /// `}`
    Close,
    /// The text is over.
    End,
}

/// The rest of a text, read word by word.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    rest: &'a str,
    line: u32,
}

#[derive(Debug)]
enum Token<'a> {
    Bare(&'a str),
    Quoted(Cow<'a, str>),
    Open,
    Close,
    Semicolon,
    End,
}

impl<'a> Lexer<'a> {
    /// Starts at the first line of `text`.
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            rest: text,
            line: 1,
        }
    }

    /// The next statement, or a brace that ends a block, or the end.
    pub(super) fn statement(&mut self) -> Result<Statement<'a>, ImportError> {
        let (line, token) = self.token()?;
        let name = match token {
            Token::Bare(name) => name,
            Token::Close => {
                return Ok(Statement {
                    line,
                    kind: StatementKind::Close,
                });
            }
            Token::End => {
                return Ok(Statement {
                    line,
                    kind: StatementKind::End,
                });
            }
            other @ (Token::Quoted(_) | Token::Open | Token::Semicolon) => {
                return Err(syntax(line, "a name or '}'", &other));
            }
        };
        let (at, token) = self.token()?;
        let text = match token {
            Token::Open => {
                return Ok(Statement {
                    line,
                    kind: StatementKind::Open(name),
                });
            }
            Token::Bare(text) => Cow::Borrowed(text),
            Token::Quoted(text) => text,
            other @ (Token::Close | Token::Semicolon | Token::End) => {
                return Err(syntax(at, "a value or '{'", &other));
            }
        };
        match self.token()? {
            (_, Token::Semicolon) => Ok(Statement {
                line,
                kind: StatementKind::Leaf(name, text),
            }),
            (at, other) => Err(syntax(at, "';'", &other)),
        }
    }

    fn token(&mut self) -> Result<(u32, Token<'a>), ImportError> {
        self.take(blank);
        let line = self.line;
        let token = match self.rest.as_bytes().first() {
            None => return Ok((line, Token::End)),
            Some(b'{') => self.punctuation(Token::Open),
            Some(b'}') => self.punctuation(Token::Close),
            Some(b';') => self.punctuation(Token::Semicolon),
            Some(b'"' | b'\'') => Token::Quoted(self.string()?),
            Some(_) => match self.take(bare) {
                Some(word) => Token::Bare(word),
                None => return Err(self.unreadable()),
            },
        };
        Ok((line, token))
    }

    fn punctuation(&mut self, token: Token<'a>) -> Token<'a> {
        self.rest = self.rest.get(1..).unwrap_or_default();
        token
    }

    /// One or more quoted strings joined with `+`.
    fn string(&mut self) -> Result<Cow<'a, str>, ImportError> {
        let mut whole = self.one_string()?;
        loop {
            self.take(blank);
            if !self.rest.starts_with('+') {
                return Ok(whole);
            }
            self.rest = self.rest.get(1..).unwrap_or_default();
            self.take(blank);
            if !self.rest.starts_with(['"', '\'']) {
                return Err(self.unreadable());
            }
            whole.to_mut().push_str(&self.one_string()?);
        }
    }

    fn one_string(&mut self) -> Result<Cow<'a, str>, ImportError> {
        let line = self.line;
        let escapes = self.rest.starts_with('"');
        let Some(with_quotes) = self.take(alt((double_quoted, single_quoted))) else {
            let found = first_line(self.rest);
            return Err(ImportError::on_line(
                line,
                ImportErrorKind::Syntax {
                    expected: "a closing quote",
                    found: quoted(found),
                },
            ));
        };
        let last = with_quotes.len().saturating_sub(1);
        let text = with_quotes.get(1..last).unwrap_or_default();
        if escapes && text.contains('\\') {
            return Ok(Cow::Owned(unescape(text)));
        }
        Ok(Cow::Borrowed(text))
    }

    /// Takes what `parser` recognizes and counts its lines.
    fn take(
        &mut self,
        mut parser: impl Parser<&'a str, Output = &'a str, Error = nom::error::Error<&'a str>>,
    ) -> Option<&'a str> {
        let (rest, taken) = parser.parse(self.rest).ok()?;
        let lines = taken.bytes().filter(|b| *b == b'\n').count();
        self.line = self
            .line
            .saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        self.rest = rest;
        Some(taken)
    }

    fn unreadable(&self) -> ImportError {
        let (expected, rest) = if self.rest.starts_with("/*") {
            ("the end \"*/\" of this comment", first_line(self.rest))
        } else {
            ("a word or a quoted string", first_line(self.rest))
        };
        ImportError::on_line(
            self.line,
            ImportErrorKind::Syntax {
                expected,
                found: if rest.is_empty() {
                    String::from("the end of the text")
                } else {
                    quoted(rest)
                },
            },
        )
    }
}

fn syntax(line: u32, expected: &'static str, found: &Token<'_>) -> ImportError {
    let found = match found {
        Token::Bare(word) => quoted(word),
        Token::Quoted(text) => quoted(text),
        Token::Open => String::from("'{'"),
        Token::Close => String::from("'}'"),
        Token::Semicolon => String::from("';'"),
        Token::End => String::from("the end of the text"),
    };
    ImportError::on_line(line, ImportErrorKind::Syntax { expected, found })
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim_end()
}

/// An unknown escape stays as it is, backslash included.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some(c @ ('"' | '\\')) => out.push(c),
            Some(c) => {
                out.push('\\');
                out.push(c);
            }
            None => out.push('\\'),
        }
    }
    out
}

fn blank(input: &str) -> IResult<&str, &str> {
    let line_comment = recognize(pair(tag("//"), many0_count(is_not("\n"))));
    let block_comment = recognize(delimited(tag("/*"), take_until("*/"), tag("*/")));
    recognize(many0_count(alt((multispace1, line_comment, block_comment)))).parse(input)
}

fn bare(input: &str) -> IResult<&str, &str> {
    take_while1(|c: char| !c.is_whitespace() && !";{}\"'/".contains(c)).parse(input)
}

fn double_quoted(input: &str) -> IResult<&str, &str> {
    let escape = value((), preceded(char('\\'), nom::character::complete::anychar));
    let plain = value((), is_not("\\\""));
    recognize(delimited(
        char('"'),
        many0_count(alt((plain, escape))),
        char('"'),
    ))
    .parse(input)
}

fn single_quoted(input: &str) -> IResult<&str, &str> {
    recognize(terminated(
        pair(one_of("'"), many0_count(is_not("'"))),
        char('\''),
    ))
    .parse(input)
}
