from rules.injection.detector import InjectionDetector

__all__ = ["InjectionDetector"]
