//! What the examples share: tables, SVG plots, progress bars.
