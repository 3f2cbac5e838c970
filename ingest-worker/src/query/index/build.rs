//! Turns an understood query into one of the index.

use clara_lifecycle::query::{AllOf, AnyOf, Term};
use tantivy::{
    Score, Searcher, TantivyError, Term as IndexTerm,
    query::{BooleanQuery, BoostQuery, DisjunctionMaxQuery, Occur, PhraseQuery, Query, TermQuery},
    schema::{Field, IndexRecordOption},
    tokenizer::{TextAnalyzer, TokenStream as _},
};

use crate::query::{compound::compounds, provision::Relation};

/// A compound counts half of the word itself.
const COMPOUND_BOOST: Score = 0.5;
/// A word with something between the parts of the one that is looked for counts a quarter.
const SPREAD_BOOST: Score = 0.25;
/// The section itself counts more than a text that cites it.
const SECTION_BOOST: Score = 2.0;

/// What a query is built with.
pub(super) struct QueryBuilder<'a> {
    pub(super) searcher: &'a Searcher,
    pub(super) analyzer: TextAnalyzer,
    pub(super) body: Field,
    pub(super) provisions: Field,
    /// Provisions that are looked for so far, not excluded.
    pub(super) sought: Vec<usize>,
    pub(super) is_excluding: bool,
}

/// What is asked of the index.
pub(super) struct Built {
    /// The whole query.
    pub(super) query: Box<dyn Query>,
    /// The sections that it names, if it names any.
    pub(super) sections: Option<Box<dyn Query>>,
}

type Clauses = Vec<(Occur, Box<dyn Query>)>;

impl QueryBuilder<'_> {
    /// The whole query, and the sections that it names.
    pub(super) fn build(mut self, root: &AnyOf) -> Result<Built, TantivyError> {
        let query = self.any_of(root)?;
        let sections = self.sought.iter().map(|place| self.related(*place, Relation::Is)).collect::<Vec<_>>();
        let sections =
            (!sections.is_empty()).then(|| Box::new(DisjunctionMaxQuery::new(sections)) as Box<dyn Query>);
        Ok(Built { query, sections })
    }

    fn any_of(&mut self, group: &AnyOf) -> Result<Box<dyn Query>, TantivyError> {
        let mut clauses: Clauses = Vec::new();
        let mut stems: Vec<String> = Vec::new();
        for alternative in &group.any {
            if let ([Term::Word(word)], []) = (alternative.all.as_slice(), alternative.not.as_slice()) {
                // Two forms of one word count once.
                let stem = self.stem(word);
                if stems.contains(&stem) {
                    continue;
                }
                stems.push(stem);
            }
            clauses.push((Occur::Should, self.all_of(alternative)?));
        }
        self.exclude(&mut clauses, &group.not)?;
        Ok(Box::new(BooleanQuery::new(clauses)))
    }

    fn all_of(&mut self, alternative: &AllOf) -> Result<Box<dyn Query>, TantivyError> {
        if let ([only], []) = (alternative.all.as_slice(), alternative.not.as_slice()) {
            return self.term(only);
        }
        let mut clauses: Clauses = Vec::new();
        for term in &alternative.all {
            clauses.push((Occur::Must, self.term(term)?));
        }
        self.exclude(&mut clauses, &alternative.not)?;
        Ok(Box::new(BooleanQuery::new(clauses)))
    }

    fn exclude(&mut self, clauses: &mut Clauses, terms: &[Term]) -> Result<(), TantivyError> {
        let was_excluding = self.is_excluding;
        self.is_excluding = !was_excluding;
        for term in terms {
            clauses.push((Occur::MustNot, self.term(term)?));
        }
        self.is_excluding = was_excluding;
        Ok(())
    }

    fn term(&mut self, term: &Term) -> Result<Box<dyn Query>, TantivyError> {
        match term {
            Term::Word(word) => self.word(word),
            Term::Phrase(words) => Ok(self.phrase(words)),
            Term::Provision(place) => Ok(self.provision(*place)),
            Term::Group(group) => self.any_of(group),
        }
    }

    /// The stem itself or, at less weight, the best of its compounds.
    fn word(&mut self, word: &str) -> Result<Box<dyn Query>, TantivyError> {
        let stem = self.stem(word);
        let compounds = compounds(self.searcher, self.body, &stem)?;
        let mut alternatives = vec![self.stem_query(&stem)];
        for (words, boost) in [(compounds.with, COMPOUND_BOOST), (compounds.spread, SPREAD_BOOST)] {
            for compound in words {
                alternatives.push(Box::new(BoostQuery::new(self.stem_query(&compound), boost)));
            }
        }
        Ok(Box::new(DisjunctionMaxQuery::new(alternatives)))
    }

    /// The words in order, each in any of its forms; compounds do not count.
    fn phrase(&mut self, words: &[String]) -> Box<dyn Query> {
        let stems: Vec<String> = words.iter().map(|word| self.stem(word)).collect();
        if let [only] = stems.as_slice() {
            return self.stem_query(only);
        }
        let terms = stems.iter().map(|stem| IndexTerm::from_field_text(self.body, stem));
        Box::new(PhraseQuery::new(terms.collect()))
    }

    fn provision(&mut self, place: usize) -> Box<dyn Query> {
        if !self.is_excluding {
            self.sought.push(place);
        }
        let section = BoostQuery::new(self.related(place, Relation::Is), SECTION_BOOST);
        Box::new(DisjunctionMaxQuery::new(vec![Box::new(section), self.related(place, Relation::Cites)]))
    }

    fn related(&self, place: usize, relation: Relation) -> Box<dyn Query> {
        let term = IndexTerm::from_field_text(self.provisions, &provision_term(place, relation));
        Box::new(TermQuery::new(term, IndexRecordOption::Basic))
    }

    fn stem_query(&self, stem: &str) -> Box<dyn Query> {
        let term = IndexTerm::from_field_text(self.body, stem);
        Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs))
    }

    fn stem(&mut self, word: &str) -> String {
        let mut stem = String::new();
        self.analyzer.token_stream(word).process(&mut |token| stem.push_str(&token.text));
        stem
    }
}

/// The indexed term for a document's relation to the provision at a place of the query.
pub(super) fn provision_term(place: usize, relation: Relation) -> String {
    match relation {
        Relation::Is => format!("is {place}"),
        Relation::Cites => format!("cites {place}"),
    }
}
