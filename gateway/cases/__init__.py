from gateway.cases.desk import AuditedCaseDesk
from gateway.cases.store import SqliteCaseStore

__all__ = ["AuditedCaseDesk", "SqliteCaseStore"]
