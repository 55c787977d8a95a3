//! Collections of documents, queries and judgements in the forms in which the classic ones come.

use super::measures::{Gain, ndcg_at, recall_at, reciprocal_rank};
use crate::bootstrap::Estimate;
use crate::error::Error;
use std::collections::HashMap;

/// A document or a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// What judgements call it.
    pub id: String,
    /// Its text.
    pub text: String,
}

/// Documents, queries, and what is relevant to what.
#[derive(Clone, Debug)]
pub struct Collection {
    /// In the order of the file: rankings are of these indices.
    pub documents: Vec<Document>,
    /// In the order of the file.
    pub queries: Vec<Document>,
    /// For each query the judged documents and their grades; 0 and below is not relevant.
    pub judgements: Vec<HashMap<usize, i32>>,
}

impl Collection {
    /// TREC form, as the Vaswani collection has it: `<DOC>` with `<DOCNO>` and text, `<top>` with `<num>` and `<title>`, and lines of query, a
    /// number, document, grade.
    ///
    /// # Errors
    /// [`Error::Collection`] for a document or query without its parts, or a judgement of none of either.
    pub fn trec(documents: &str, queries: &str, judgements: &str) -> Result<Collection, Error> {
        let documents = tagged(documents, "doc", "docno", None)?;
        Collection::judged(documents, tagged(queries, "top", "num", Some("title"))?, judgements, false)
    }

    /// The Cranfield collection in TREC form: documents are their `<text>` alone (it repeats the title), and judgements number queries by their
    /// place in the file, not by `<num>`.
    ///
    /// # Errors
    /// As [`Collection::trec`].
    pub fn cranfield(documents: &str, queries: &str, judgements: &str) -> Result<Collection, Error> {
        let documents = tagged(documents, "doc", "docno", Some("text"))?;
        let mut queries = tagged(queries, "top", "num", Some("title"))?;
        queries.iter_mut().enumerate().for_each(|(i, q)| q.id = (i + 1).to_string());
        Collection::judged(documents, queries, judgements, false)
    }

    /// SMART form, as the CISI collection has it: `.I` with a number, `.W` before the text, other marks left out; and lines of query, document
    /// and two more numbers, each a relevant pair.
    ///
    /// # Errors
    /// As [`Collection::trec`].
    pub fn smart(documents: &str, queries: &str, judgements: &str) -> Result<Collection, Error> {
        Collection::judged(smart(documents)?, smart(queries)?, judgements, true)
    }

    fn judged(documents: Vec<Document>, queries: Vec<Document>, judgements: &str, smart: bool) -> Result<Collection, Error> {
        let index = |list: &[Document]| list.iter().enumerate().map(|(i, d)| (d.id.clone(), i)).collect::<HashMap<_, _>>();
        let (document, query) = (index(&documents), index(&queries));
        let mut all = vec![HashMap::new(); queries.len()];
        for (line, text) in judgements.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
            let fields: Vec<&str> = text.split_whitespace().collect();
            let (q, d, grade) = match (&fields[..], smart) {
                ([q, d, ..], true) => (q, d, Ok(1)),
                ([q, _, d, grade, ..], false) => (q, d, grade.parse()),
                _ => return Err(Error::Collection { detail: format!("judgement {}: `{text}` has too few fields", line + 1) }),
            };
            let (Some(q), Some(d), Ok(grade)) = (query.get(*q), document.get(*d), grade) else {
                return Err(Error::Collection {
                    detail: format!("judgement {}: `{text}` is of no query, document or grade here", line + 1),
                });
            };
            all[*q].insert(*d, grade);
        }
        Ok(Collection { documents, queries, judgements: all })
    }

    /// The mean nDCG of the first `k` over all queries with a relevant document, with its interval.
    ///
    /// # Errors
    /// [`Error::Rankings`] unless there is a ranking for each query.
    pub fn ndcg(&self, ranked: &[Vec<usize>], k: usize, gain: Gain) -> Result<Estimate, Error> {
        self.mean(ranked, |ranked, judged| ndcg_at(k, ranked, judged, gain))
    }

    /// The mean share of the relevant documents that is among the first `k`.
    ///
    /// # Errors
    /// As [`Collection::ndcg`].
    pub fn recall(&self, ranked: &[Vec<usize>], k: usize) -> Result<Estimate, Error> {
        self.mean(ranked, |ranked, judged| recall_at(k, ranked, judged))
    }

    /// The mean reciprocal rank of the first relevant document among the first `k`.
    ///
    /// # Errors
    /// As [`Collection::ndcg`].
    pub fn mrr(&self, ranked: &[Vec<usize>], k: usize) -> Result<Estimate, Error> {
        self.mean(ranked, |ranked, judged| reciprocal_rank(k, ranked, judged))
    }

    fn mean(&self, ranked: &[Vec<usize>], measure: impl Fn(&[usize], &HashMap<usize, i32>) -> Option<f64>) -> Result<Estimate, Error> {
        if ranked.len() != self.queries.len() {
            return Err(Error::Rankings { want: self.queries.len(), got: ranked.len() });
        }
        let values: Vec<f64> = ranked.iter().zip(&self.judgements).filter_map(|(ranked, judged)| measure(ranked, judged)).collect();
        Ok(Estimate::bootstrap(&values, 1))
    }
}

/// Every `<unit>` with its id and text; tags in any case. Without a tag for the text it is what follows the id.
fn tagged(source: &str, unit: &str, id: &str, text: Option<&str>) -> Result<Vec<Document>, Error> {
    // Of the same length, so places in one are places in the other.
    let lower = source.to_ascii_lowercase();
    let bad = |at: usize, tag: &str| Error::Collection { detail: format!("byte {at}: no <{tag}>...</{tag}> before the end of <{unit}>") };
    let (open, close) = (format!("<{unit}>"), format!("</{unit}>"));
    let mut documents = vec![];
    let mut at = 0;
    while let Some(found) = lower[at..].find(&open) {
        let start = at + found + open.len();
        let end = start + lower[start..].find(&close).ok_or_else(|| bad(start, unit))?;
        let inside = |tag: &str| {
            let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
            let from = start + lower[start..end].find(&open).ok_or_else(|| bad(start, tag))? + open.len();
            let to = from + lower[from..end].find(&close).ok_or_else(|| bad(start, tag))?;
            Ok::<_, Error>((from, to, to + close.len()))
        };
        let (from, to, behind) = inside(id)?;
        let text = match text {
            Some(tag) => inside(tag).map(|(from, to, _)| &source[from..to])?,
            None => &source[behind..end],
        };
        documents.push(Document { id: source[from..to].trim().to_owned(), text: text.trim().to_owned() });
        at = end + close.len();
    }
    some(documents, &open)
}

fn smart(source: &str) -> Result<Vec<Document>, Error> {
    let mut documents: Vec<Document> = vec![];
    let mut in_text = false;
    for line in source.lines() {
        let mut chars = line.chars();
        let mark = match (chars.next(), chars.next()) {
            (Some('.'), Some(c)) if c.is_ascii_uppercase() && chars.next().is_none_or(char::is_whitespace) => Some(c),
            _ => None,
        };
        match (mark, documents.last_mut()) {
            (Some('I'), _) => documents.push(Document { id: line[2..].trim().to_owned(), text: String::new() }),
            (Some(_), _) => (),
            (None, Some(document)) if in_text => {
                document.text += line;
                document.text.push('\n');
            }
            _ => (),
        }
        if let Some(mark) = mark {
            in_text = mark == 'W';
        }
    }
    some(documents, ".I")
}

fn some(documents: Vec<Document>, mark: &str) -> Result<Vec<Document>, Error> {
    if documents.is_empty() { Err(Error::Collection { detail: format!("there is no `{mark}` in it") }) } else { Ok(documents) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cranfield_counts_queries_and_keeps_the_text_alone() {
        let documents = "<doc>\n<docno>7</docno>\n<title>a wing</title>\n<text>a wing\nin a stream .</text>\n</doc>\n<doc><docno>9</docno><title></title><text></text></doc>";
        let queries = "<xml><top>\r\n<num> 4</num>\r\n<title>\r\nwings ?\r\n</title></top><top><num> 8</num><title>b</title></top></xml>";
        let c = Collection::cranfield(documents, queries, "1 0 7 1\r\n2 0 9 0\n\n").unwrap();
        assert_eq!(c.documents[0], Document { id: "7".to_owned(), text: "a wing\nin a stream .".to_owned() });
        assert_eq!((c.documents[1].text.as_str(), c.queries[0].text.as_str(), c.queries[1].id.as_str()), ("", "wings ?", "2"));
        assert_eq!((c.judgements[0][&0], c.judgements[1][&1]), (1, 0));
        let e = Collection::cranfield(documents, queries, "1 0 8 1").unwrap_err().to_string();
        assert!(e.contains("judgement 1") && e.contains("1 0 8 1"), "{e}");
        let e = Collection::cranfield("<doc><docno>7</docno></doc>", queries, "").unwrap_err().to_string();
        assert!(e.contains("<text>"), "{e}");
        assert!(Collection::cranfield("nothing", queries, "").is_err());
    }

    #[test]
    fn smart_takes_what_follows_w() {
        let documents = ".I 1\n.T\n18 Editions\n.A\nX\n.W\n   The study\n.5 of it.\n.X\n1\t5\t1\n.I 2\n.W\nb\n";
        let c = Collection::smart(documents, ".I 1\n.W\nWhat?\n", "     1      2\t0\t0.000000\n").unwrap();
        assert_eq!(c.documents[0].text, "   The study\n.5 of it.\n");
        assert_eq!((c.documents[1].id.as_str(), c.judgements[0][&1]), ("2", 1));
    }

    #[test]
    fn queries_without_a_relevant_document_do_not_count() {
        let documents = "<DOC><DOCNO>1</DOCNO>a</DOC><DOC><DOCNO>2</DOCNO>b</DOC>";
        let queries = "<top><num>1</num><title>a</title></top><top><num>2</num><title>b</title></top>";
        let c = Collection::trec(documents, queries, "1 0 2 1\n2 0 1 0").unwrap();
        let ranked = [vec![0, 1], vec![0, 1]];
        assert!((c.ndcg(&ranked, 10, Gain::Binary).unwrap().mean - 1.0 / 3f64.log2()).abs() < 1e-12);
        assert_eq!((c.mrr(&ranked, 10).unwrap().mean, c.recall(&ranked, 1).unwrap().mean), (0.5, 0.0));
        assert!(c.mrr(&ranked[..1], 10).unwrap_err().to_string().contains('2'));
    }
}
