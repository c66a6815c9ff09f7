//! How a statement is made, found without parsing it: number of words, nesting, operator chains.
//!
//! It is not a parser, and errs on the safe side: what it does not know counts as an operator. A
//! chain ends at a comma, since a long list of values is wide and not deep.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::config::SqlConfig;
use crate::error::ApiError;

/// How a text is made, found without parsing it.
#[derive(Debug, Default)]
pub(super) struct Shape {
    tokens: usize,
    nesting_max: usize,
    operators_max: usize,
    sets: usize,
}

impl Shape {
    /// The shape of these words.
    pub(super) fn of(tokens: &[TokenWithSpan]) -> Self {
        let mut shape = Self::default();
        // Operators in the chain at hand, one count per open parenthesis.
        let mut chains = vec![0_usize];
        for token in tokens.iter().map(|token| &token.token) {
            if matches!(token, Token::Whitespace(_)) {
                continue;
            }
            shape.tokens += 1;
            match token {
                // A subscript is a link of a chain and opens a chain of its own.
                Token::LBracket => {
                    if let Some(chain) = chains.last_mut() {
                        *chain += 1;
                    }
                    chains.push(0);
                }
                Token::LParen | Token::LBrace => chains.push(0),
                Token::RParen | Token::RBracket | Token::RBrace if chains.len() > 1 => {
                    shape.operators_max = shape.operators_max.max(chains.pop().unwrap_or(0));
                }
                Token::Comma => {
                    let ended = chains.last_mut().map(std::mem::take).unwrap_or(0);
                    shape.operators_max = shape.operators_max.max(ended);
                }
                Token::Word(word) => {
                    if is_set_operation(word.keyword) {
                        shape.sets += 1;
                    }
                    if let Some(chain) = chains.last_mut() {
                        *chain += usize::from(is_operator_word(word.keyword));
                    }
                }
                other => {
                    if let Some(chain) = chains.last_mut() {
                        *chain += usize::from(is_operator_sign(other));
                    }
                }
            }
            shape.nesting_max = shape.nesting_max.max(chains.len() - 1);
        }
        let open = chains.into_iter().max().unwrap_or(0);
        shape.operators_max = shape.operators_max.max(open);
        shape
    }

    /// Refuses what would recurse too deep or plan too long.
    pub(super) fn check(&self, limits: &SqlConfig) -> Result<(), ApiError> {
        for (what, found, max) in [
            ("words and signs", self.tokens, limits.tokens_max),
            ("levels of parentheses", self.nesting_max, limits.nesting_max),
            ("operators in one expression", self.operators_max, limits.operators_max),
            ("set operations", self.sets, limits.tables_max),
        ] {
            if found > max {
                return Err(ApiError::limit(format!(
                    "the statement has {found} {what}; at most {max} are planned"
                )));
            }
        }
        Ok(())
    }
}

fn is_set_operation(keyword: Keyword) -> bool {
    matches!(keyword, Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT | Keyword::MINUS)
}

/// Words that make an expression one level deeper.
fn is_operator_word(keyword: Keyword) -> bool {
    use Keyword as K;
    matches!(
        keyword,
        K::AND
            | K::OR
            | K::XOR
            | K::NOT
            | K::IS
            | K::IN
            | K::LIKE
            | K::ILIKE
            | K::BETWEEN
            | K::SIMILAR
            | K::RLIKE
            | K::REGEXP
            | K::DIV
            | K::AT
            | K::COLLATE
            | K::CASE
            | K::WHEN
            | K::OVERLAPS
    )
}

/// Signs that make an expression one level deeper: whatever is neither a value nor punctuation,
/// so that an operator nobody thought of counts.
fn is_operator_sign(token: &Token) -> bool {
    !matches!(
        token,
        Token::EOF
            | Token::Number(..)
            | Token::Char(_)
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::NationalStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::Period
            | Token::SemiColon
            | Token::Placeholder(_)
            | Token::RParen
            | Token::RBracket
            | Token::RBrace
    )
}
