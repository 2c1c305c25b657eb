"""numba's compiler with the steps that kernels need, and without those that they do not: half the time.

numba compiles a function in some thirty passes over its own intermediate representation, then LLVM's. For kernels

* passes for closures, array expressions, parallel loops, literals and annotations are left out, as are the analyses
  that numba makes anew after every pass;
* the type of ``a + b`` is looked up once for two types, not several times for each plus sign in each function;
* a function that only kernels call is turned into machine code in them, and not by itself as well;
* references to arrays are not counted where a kernel makes none: whoever calls it holds them for as long as it runs.

It stands on names that numba does not promise to keep, so it is used with the version that it is tested with; with any
other one, numba's own compiler does the same.
"""

# mypy: disable-error-code="no-untyped-call, attr-defined"

from __future__ import annotations

from typing import Any

from numba import _dynfunc
from numba.core import errors, ir, typed_passes, typeinfer, types, untyped_passes
from numba.core.analysis import dead_branch_prune, rewrite_semantic_constants
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase
from numba.core.runtime.nrt import rtsys
from numba.core.targetconfig import ConfigStack
from numba.core.transforms import canonicalize_cfg

__all__ = ["KernelCompiler"]

_SIMPLE = (types.Number, types.Boolean, types.Array, types.Literal)
_SIGNATURES: dict[Any, Any] = {}
_VIEWS = ("array.reshape", "array.view")


class KernelCompiler(CompilerBase):
    """What `numba.njit` takes as its ``pipeline_class``."""

    def _compile_core(self) -> Any:
        state = self.state
        with ConfigStack().enter(state.flags.copy()):
            _read_bytecode(state)
            _infer_types(state)
            _check_references(state)
            if state.flags.nrt:
                typed_passes.IRLegalization().run_pass(state)  # which says where references end
            _generate_code(state)
        state.pipeline = None
        return state.cr


def _read_bytecode(state: Any) -> None:
    """Make numba's intermediate representation of a function, with what is inlined in it."""
    untyped_passes.TranslateByteCode().run_pass(state)
    untyped_passes.FixupArgs().run_pass(state)
    state.func_ir.blocks = canonicalize_cfg(state.func_ir.blocks)
    rewrite_semantic_constants(state.func_ir, state.args)
    dead_branch_prune(state.func_ir, state.args)
    untyped_passes.GenericRewrites().run_pass(state)
    untyped_passes.InlineInlinables().run_pass(state)
    dead_branch_prune(state.func_ir, state.args)
    untyped_passes.ReconstructSSA().run_pass(state)


def _infer_types(state: Any) -> None:
    warnings = errors.WarningsFixer(errors.NumbaWarning)
    inferer = _Inferer(state.typingctx, state.func_ir, warnings)
    frame = state.typingctx.callstack.register(state.targetctx.target, inferer, state.func_ir.func_id, state.args)
    with frame, warnings:
        for place, (name, kind) in enumerate(zip(state.func_ir.arg_names, state.args, strict=True)):
            inferer.seed_argument(name, place, kind)
        inferer.build_constraint()
        inferer.propagate()
        state.typemap, state.return_type, state.calltypes = inferer.unify()
    typed_passes.PreLowerStripPhis().run_pass(state)
    typed_passes.InlineOverloads().run_pass(state)


class _Inferer(typeinfer.TypeInferer):
    """Type inference that remembers what functions and operators of numba's return for simple types."""

    def resolve_call(self, function: Any, arguments: Any, keywords: Any) -> Any:
        if keywords or type(function) is not types.Function or not all(isinstance(each, _SIMPLE) for each in arguments):
            return super().resolve_call(function, arguments, keywords)
        key = function, tuple(arguments)
        signature = _SIGNATURES.get(key)
        if signature is None:
            signature = super().resolve_call(function, arguments, keywords)
            if signature is not None:
                _SIGNATURES[key] = signature
        return signature


def _check_references(state: Any) -> None:
    """Refuse arrays passed between functions of which one counts references: never freed, or while they are in use."""
    name, counts = state.func_id.func_qualname, state.flags.nrt
    if _has_array(state.return_type) and not (counts or state.flags.no_cpython_wrapper):
        raise errors.TypingError(f"{name} returns an array to Python: declare it with allocates=True")
    for call, signature in state.calltypes.items():
        if isinstance(call, ir.Expr) and call.op == "call" and _has_array(signature.return_type):
            called = state.typemap[call.func.name]
            if isinstance(called, types.Dispatcher):
                is_sound = called.dispatcher.targetoptions["_nrt"] == counts
            else:
                is_sound = counts or (isinstance(called, types.BoundFunction) and called.typing_key in _VIEWS)
            if not is_sound:
                raise errors.TypingError(f"{called} returns an array to {name}: declare both with allocates=True")


def _has_array(kind: Any) -> bool:
    if isinstance(kind, types.BaseTuple):
        members: Any = kind
        return any(_has_array(each) for each in members)
    return isinstance(kind, types.Array)


def _generate_code(state: Any) -> None:
    """Generate LLVM's code; of a kernel, machine code too."""
    is_part = state.flags.no_cpython_wrapper
    if is_part:
        state.flags.no_compile = True
        state.library = _Part(state.targetctx.codegen(), state.func_id.func_qualname)
    typed_passes.NativeLowering().run_pass(state)
    if is_part:  # let kernels call it, by a name for which there is no machine code
        lowered = state.cr
        described, module = lowered.fndesc, lowered.fndesc.lookup_module()
        state.library.finalize()
        name = _dynfunc.make_function(module, described.qualname, "", 0, lowered.env, (state.library,))
        state.targetctx.insert_user_function(name, described, [state.library])
        state.cr = lowered._replace(cfunc=name)
    typed_passes.NoPythonBackend().run_pass(state)


class _Part(JITCodeLibrary):
    """The code of a function that only kernels call: linked into theirs, and made into machine code only there."""

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = self._codegen._data_layout  # the rest is done in `finalize`

    def finalize(self) -> None:
        for library in dict.fromkeys(self._linking_libraries):
            if library is not rtsys.library:  # which kernels link themselves
                self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        # Left to the kernels that contain it, this came out a tenth slower in some of them.
        passes, builder = self._codegen._module_pass_manager()
        passes.run(self._final_module, builder)
        self._finalized = True
