"""Holdfast's lifecycle against tables of OpenNebula's: every row a test case.

``tests/data/one/one-vm-states.csv`` lists the states, ``one-lcm-events.csv`` what each event does from each state,
``one-recover-matrix.csv`` what each operation of ``onevm recover`` does in each state.

:mod:`.rows` reads them.  :mod:`.subjects` builds the VM that a row speaks of, :mod:`.step` takes it through
``decide``.  The texts of the columns are read phrase by phrase: :mod:`.history_words`, :mod:`.driver_words`,
:mod:`.record_words` and :mod:`.note_words` are tables from a phrase to what it means, and a phrase that is in none of
them fails.  :mod:`.event_rows` and :mod:`.recover_rows` answer how Holdfast differs from a row.

Rows where it differs on purpose are in :mod:`.deviations` with what it does instead, which is checked the same way.
"""
