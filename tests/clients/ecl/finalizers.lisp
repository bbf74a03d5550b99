;;; finalizers.lisp - finalizers and weak pointers. A conservative collector may keep a few objects,
;;; so that counts are printed as bounds.
(defvar *finalized* 0)
(defvar *wrong* 0)

;; A closure made beside the object would refer to it, and keep it.
(defun finalized (object)
  (unless (and (vectorp object) (eq (aref object 0) 'finalized)) (incf *wrong*))
  (incf *finalized*))

(defun make-some (n)
  (dotimes (i n) (ext:set-finalizer (vector 'finalized i) #'finalized)))

(defun make-weak (n)
  (let ((held '()) (weak '()))
    (dotimes (i n)
      (let ((object (vector 'weak i)))
        (push (ext:make-weak-pointer object) weak)
        (when (evenp i) (push object held))))
    (values weak held)))

(defun overwrite-stack (n) (if (zerop n) 0 (1+ (overwrite-stack (1- n)))))

(defun main (rounds)
  (dotimes (i rounds)
    (make-some 1000)
    (overwrite-stack 100)
    (si:gc t)
    (multiple-value-bind (weak held) (make-weak 1000)
      (si:gc t)
      (let ((there (count-if #'ext:weak-pointer-value weak)))
        (format t "~a held ~a there ~a~%" i (length held)
                (<= (length held) there (+ (length held) 100))))))
  (dotimes (i 5) (si:gc t))
  (format t "most ran: ~a~%" (<= (* 900 (1- rounds)) *finalized* (* 1000 rounds)))
  (format t "wrong: ~a~%" *wrong*))
