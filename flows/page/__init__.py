"""HTML pages from tables and records: the report page and the inspection page. No disk, no clock, no Prefect."""
