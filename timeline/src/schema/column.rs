//! How a Rust type becomes an Arrow column, and how a row struct becomes a table.
//!
//! [`columns!`] takes the one list of a table's columns and writes the struct, its schema and its
//! builder. It is not a general Arrow derive: it knows the few types our rows are made of.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, Int32Builder, Int64Builder, StringBuilder,
};
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::record_batch::RecordBatch;

/// A type that can stand in a column.
pub trait Column {
    /// What collects values into an Arrow array.
    type Builder;
    /// Whether the column may hold NULL.
    const NULLABLE: bool;
    /// The Arrow type.
    fn data_type() -> DataType;
    /// A builder with nothing in it.
    fn builder() -> Self::Builder;
    /// Adds one value.
    fn append(&self, builder: &mut Self::Builder);
    /// The array of everything added; the builder is empty afterwards.
    fn finish(builder: &mut Self::Builder) -> ArrayRef;

    /// The field of that name.
    fn field(name: &str) -> Field {
        Field::new(name, Self::data_type(), Self::NULLABLE)
    }
}

/// A row struct whose fields are the columns of a table.
pub trait Columns: Sized {
    /// The builders of all columns.
    type Builders;
    /// The table's Arrow schema; each field carries its documentation as metadata.
    fn schema() -> SchemaRef;
    /// Builders with nothing in them.
    fn builders() -> Self::Builders;
    /// Adds one row.
    fn append(&self, builders: &mut Self::Builders);
    /// All rows added since the last call, as one batch.
    fn finish(builders: &mut Self::Builders) -> RecordBatch;

    /// The batch of `rows`.
    fn batch<'row>(rows: impl IntoIterator<Item = &'row Self>) -> RecordBatch
    where
        Self: 'row,
    {
        let mut builders = Self::builders();
        for row in rows {
            row.append(&mut builders);
        }
        Self::finish(&mut builders)
    }
}

/// Writes a row struct and its [`Columns`] from one list.
macro_rules! columns {
    (
        $(#[$meta:meta])*
        pub struct $row:ident / $builders:ident {
            $( #[doc = $doc:literal] $(#[doc = $more:literal])* pub $name:ident: $type:ty, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        pub struct $row {
            $( #[doc = $doc] $(#[doc = $more])* pub $name: $type, )*
        }

        /// The builders of this table's columns.
        pub struct $builders {
            rows: usize,
            schema: arrow::datatypes::SchemaRef,
            $( $name: <$type as $crate::schema::Column>::Builder, )*
        }

        impl $crate::schema::Columns for $row {
            type Builders = $builders;

            fn schema() -> arrow::datatypes::SchemaRef {
                let field = |field: arrow::datatypes::Field, doc: &str| {
                    field.with_metadata([(String::from("doc"), String::from(doc.trim()))].into())
                };
                std::sync::Arc::new(arrow::datatypes::Schema::new(vec![
                    $( field(<$type as $crate::schema::Column>::field(stringify!($name)),
                             concat!($doc $(, $more)*)), )*
                ]))
            }

            fn builders() -> $builders {
                $builders {
                    rows: 0,
                    schema: <Self as $crate::schema::Columns>::schema(),
                    $( $name: <$type as $crate::schema::Column>::builder(), )*
                }
            }

            fn append(&self, builders: &mut $builders) {
                builders.rows += 1;
                $( $crate::schema::Column::append(&self.$name, &mut builders.$name); )*
            }

            fn finish(builders: &mut $builders) -> arrow::record_batch::RecordBatch {
                let rows = std::mem::take(&mut builders.rows);
                arrow::record_batch::RecordBatch::try_new_with_options(
                    std::sync::Arc::clone(&builders.schema),
                    vec![ $( <$type as $crate::schema::Column>::finish(&mut builders.$name), )* ],
                    &arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(rows)),
                )
                .expect("the arrays are built from the list that the schema is built from")
            }
        }
    };
}
pub(crate) use columns;

/// Implements [`Column`] for a primitive and for its `Option`.
macro_rules! primitive_column {
    ($type:ty, $builder:ty, $data_type:expr) => {
        impl Column for $type {
            type Builder = $builder;
            const NULLABLE: bool = false;
            fn data_type() -> DataType {
                $data_type
            }
            fn builder() -> $builder {
                <$builder>::new()
            }
            fn append(&self, builder: &mut $builder) {
                builder.append_value(*self);
            }
            fn finish(builder: &mut $builder) -> ArrayRef {
                Arc::new(builder.finish())
            }
        }

        impl Column for Option<$type> {
            type Builder = $builder;
            const NULLABLE: bool = true;
            fn data_type() -> DataType {
                $data_type
            }
            fn builder() -> $builder {
                <$builder>::new()
            }
            fn append(&self, builder: &mut $builder) {
                builder.append_option(*self);
            }
            fn finish(builder: &mut $builder) -> ArrayRef {
                Arc::new(builder.finish())
            }
        }
    };
}

primitive_column!(bool, BooleanBuilder, DataType::Boolean);
primitive_column!(i32, Int32Builder, DataType::Int32);
primitive_column!(i64, Int64Builder, DataType::Int64);
primitive_column!(f64, Float64Builder, DataType::Float64);

impl Column for String {
    type Builder = StringBuilder;
    const NULLABLE: bool = false;
    fn data_type() -> DataType {
        DataType::Utf8
    }
    fn builder() -> StringBuilder {
        StringBuilder::new()
    }
    fn append(&self, builder: &mut StringBuilder) {
        builder.append_value(self);
    }
    fn finish(builder: &mut StringBuilder) -> ArrayRef {
        Arc::new(builder.finish())
    }
}

impl Column for Option<String> {
    type Builder = StringBuilder;
    const NULLABLE: bool = true;
    fn data_type() -> DataType {
        DataType::Utf8
    }
    fn builder() -> StringBuilder {
        StringBuilder::new()
    }
    fn append(&self, builder: &mut StringBuilder) {
        builder.append_option(self.as_deref());
    }
    fn finish(builder: &mut StringBuilder) -> ArrayRef {
        Arc::new(builder.finish())
    }
}
