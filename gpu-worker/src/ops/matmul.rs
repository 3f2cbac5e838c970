//! The one door to the matrix library: views over slices, and sums of matrix products computed in parallel tiles.

mod narrow;

use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul as faer_matmul};
use rayon::prelude::*;

use super::OpError;

const OPERATION: &str = "matrix product";
/// Largest tile: its f32 values and the packed factors stay within a 1 MiB second-level cache.
const TILE_ROWS: usize = 512;
const TILE_COLUMNS: usize = 192;
/// Columns that the widest kernel of the library takes at once; tiles of other widths leave slower kernels a rest.
const KERNEL_COLUMNS: usize = 96;

/// A read-only matrix over a slice.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a>(MatRef<'a, f32>);

impl<'a> Matrix<'a> {
    /// Views row-major values.
    ///
    /// # Errors
    /// [`OpError::Length`] unless there are exactly `rows · columns` values.
    pub fn new(values: &'a [f32], rows: usize, columns: usize) -> Result<Self, OpError> {
        super::check_length(OPERATION, "matrix", values.len(), rows * columns)?;
        Ok(Self(MatRef::from_row_major_slice(values, rows, columns)))
    }

    /// Number of rows.
    pub fn rows(self) -> usize {
        self.0.nrows()
    }

    /// Number of columns.
    pub fn columns(self) -> usize {
        self.0.ncols()
    }

    /// The same values with rows and columns exchanged.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self(self.0.transpose())
    }

    /// The values of a row, when they lie side by side; empty for a row that does not exist or is strided.
    #[inline]
    pub(crate) fn row(self, index: usize) -> &'a [f32] {
        if index >= self.rows() {
            return &[];
        }
        self.0.row(index).try_as_row_major().map_or(&[], |row| row.as_slice())
    }

    /// `count` rows from `start`.
    ///
    /// # Errors
    /// [`OpError::Index`] when they end after the last row.
    pub fn row_range(self, start: usize, count: usize) -> Result<Self, OpError> {
        check_range("row range", start, count, self.rows())?;
        Ok(Self(self.0.subrows(start, count)))
    }

    /// `count` columns from `start`.
    ///
    /// # Errors
    /// [`OpError::Index`] when they end after the last column.
    pub fn column_range(self, start: usize, count: usize) -> Result<Self, OpError> {
        check_range("column range", start, count, self.columns())?;
        Ok(Self(self.0.subcols(start, count)))
    }
}

/// A writable matrix over a slice.
#[derive(Debug)]
pub struct MatrixMut<'a>(MatMut<'a, f32>);

impl<'a> MatrixMut<'a> {
    /// Views row-major values.
    ///
    /// # Errors
    /// [`OpError::Length`] unless there are exactly `rows · columns` values.
    pub fn new(values: &'a mut [f32], rows: usize, columns: usize) -> Result<Self, OpError> {
        super::check_length(OPERATION, "destination", values.len(), rows * columns)?;
        Ok(Self(MatMut::from_row_major_slice_mut(values, rows, columns)))
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.0.nrows()
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.0.ncols()
    }

    /// The values of a row; empty for one that does not exist.
    #[inline]
    pub(crate) fn row_mut(&mut self, index: usize) -> &mut [f32] {
        if index >= self.rows() {
            return &mut [];
        }
        self.0.as_mut().row_mut(index).try_as_row_major_mut().map_or(&mut [], |row| row.as_slice_mut())
    }

    /// The values of the first row; empty when there is none.
    pub(crate) fn into_row(self) -> &'a mut [f32] {
        if self.rows() == 0 {
            return &mut [];
        }
        self.0.row_mut(0).try_as_row_major_mut().map_or(&mut [], |row| row.as_slice_mut())
    }

    /// The first `count` rows and the rest.
    ///
    /// # Errors
    /// [`OpError::Index`] when there are fewer.
    pub fn split_rows(self, count: usize) -> Result<(Self, Self), OpError> {
        check_range("row split", 0, count, self.rows())?;
        let (head, tail) = self.0.split_at_row_mut(count);
        Ok((Self(head), Self(tail)))
    }

    /// The first `count` columns and the rest.
    ///
    /// # Errors
    /// [`OpError::Index`] when there are fewer.
    pub fn split_columns(self, count: usize) -> Result<(Self, Self), OpError> {
        check_range("column split", 0, count, self.columns())?;
        let (head, tail) = self.0.split_at_col_mut(count);
        Ok((Self(head), Self(tail)))
    }
}

/// One summand of a [`Product`]: `scale · a · b`.
#[derive(Debug, Clone, Copy)]
pub struct Term<'a> {
    /// Left factor `[m, k]`.
    pub a: Matrix<'a>,
    /// Right factor `[k, n]`.
    pub b: Matrix<'a>,
    /// Factor without unit.
    pub scale: f32,
}

/// A sum of matrix products with one destination: `into = [into +] Σ scale · a · b`.
///
/// A tile of the destination takes all terms one after another while it is in cache; this is how a low-rank update costs
/// no further pass over the output.
#[derive(Debug)]
pub struct Product<'a> {
    /// Destination `[m, n]`.
    pub into: MatrixMut<'a>,
    /// Whether to keep what the destination holds.
    pub accumulate: bool,
    /// Summands, in order; at least one unless `accumulate`.
    pub terms: Vec<Term<'a>>,
}

/// Computes several products at once, spread over the thread pool.
///
/// # Errors
/// [`OpError::Shape`] when a term does not fit its destination. Nothing is computed then.
pub fn multiply(products: Vec<Product<'_>>) -> Result<(), OpError> {
    for product in &products {
        check_terms(product.into.rows(), product.into.columns(), &product.terms)?;
    }
    let mut terms = Vec::with_capacity(products.len());
    let mut destinations = Vec::with_capacity(products.len());
    for Product { into, accumulate, terms: of_product } in products {
        destinations.push((into, accumulate));
        terms.push(of_product);
    }
    let mut tiles = Vec::new();
    for ((into, accumulate), terms) in destinations.into_iter().zip(&terms) {
        cut(into, accumulate, terms, &mut tiles);
    }
    tiles.into_par_iter().with_max_len(1).for_each(Tile::compute);
    Ok(())
}

/// Computes `into = [into +] scale · a · b` on the calling thread.
///
/// # Errors
/// [`OpError::Shape`] when the factors do not fit the destination.
pub fn multiply_here(mut into: MatrixMut<'_>, accumulate: bool, term: Term<'_>) -> Result<(), OpError> {
    check_terms(into.rows(), into.columns(), &[term])?;
    add_term(into.0.as_mut(), accumulate, term);
    Ok(())
}

/// A rectangle of a destination, with the whole terms it takes its part from.
struct Tile<'t, 'a> {
    into: MatMut<'a, f32>,
    row: usize,
    column: usize,
    accumulate: bool,
    terms: &'t [Term<'a>],
}

impl Tile<'_, '_> {
    fn compute(mut self) {
        let (rows, columns) = (self.into.nrows(), self.into.ncols());
        let mut accumulate = self.accumulate;
        for term in self.terms {
            let a = Matrix(term.a.0.subrows(self.row, rows));
            let b = Matrix(term.b.0.subcols(self.column, columns));
            add_term(self.into.as_mut(), accumulate, Term { a, b, scale: term.scale });
            accumulate = true;
        }
    }
}

fn add_term(mut into: MatMut<'_, f32>, accumulate: bool, term: Term<'_>) {
    if narrow::try_multiply(into.as_mut(), accumulate, term) {
        return;
    }
    let accumulate = if accumulate { Accum::Add } else { Accum::Replace };
    faer_matmul(into, accumulate, term.a.0, term.b.0, term.scale, Par::Seq);
}

/// Cuts a destination into tiles of at most [`TILE_ROWS`] rows and about a sixth of the columns.
fn cut<'t, 'a>(into: MatrixMut<'a>, accumulate: bool, terms: &'t [Term<'a>], tiles: &mut Vec<Tile<'t, 'a>>) {
    let width = (into.columns() / 6).next_multiple_of(KERNEL_COLUMNS).clamp(KERNEL_COLUMNS, TILE_COLUMNS);
    let (mut below, mut row) = (into.0, 0);
    while below.nrows() > 0 {
        let (mut band, rest) = split_at_row(below, TILE_ROWS);
        let (rows, mut column) = (band.nrows(), 0);
        while band.ncols() > 0 {
            let (into, right) = split_at_column(band, width);
            let columns = into.ncols();
            tiles.push(Tile { into, row, column, accumulate, terms });
            column += columns;
            band = right;
        }
        row += rows;
        below = rest;
    }
}

fn split_at_row(m: MatMut<'_, f32>, row: usize) -> (MatMut<'_, f32>, MatMut<'_, f32>) {
    let row = row.min(m.nrows());
    m.split_at_row_mut(row)
}

fn split_at_column(m: MatMut<'_, f32>, column: usize) -> (MatMut<'_, f32>, MatMut<'_, f32>) {
    let column = column.min(m.ncols());
    m.split_at_col_mut(column)
}

fn check_terms(rows: usize, columns: usize, terms: &[Term<'_>]) -> Result<(), OpError> {
    for Term { a, b, .. } in terms {
        let (a, b) = ((a.rows(), a.columns()), (b.rows(), b.columns()));
        if a.0 != rows {
            return Err(OpError::Shape {
                operation: OPERATION,
                operand: "left factor",
                got: a,
                expected: (rows, b.0),
            });
        }
        if b != (a.1, columns) {
            return Err(OpError::Shape {
                operation: OPERATION,
                operand: "right factor",
                got: b,
                expected: (a.1, columns),
            });
        }
    }
    Ok(())
}

fn check_range(operand: &'static str, start: usize, count: usize, limit: usize) -> Result<(), OpError> {
    match start.checked_add(count) {
        Some(end) if end <= limit => Ok(()),
        end => Err(OpError::Index {
            operation: OPERATION,
            operand,
            got: end.unwrap_or(usize::MAX),
            limit: limit + 1,
        }),
    }
}

#[cfg(test)]
mod tests;
